"""From the located values of a grid file to grids of which each key and value is known."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sla_bench.datasets.folder_names import canonical_dataset
from sla_bench.errors import UserError, nearest
from sla_bench.grid import expand_methods, form_of
from sla_bench.grid_values import Vocabulary
from sla_bench.located_yaml import Located, LocatedError
from sla_bench.registry import SCENARIOS

_STRUCTURE = ("scenario", "set", "controls", "include", "exclude")


@dataclass(frozen=True)
class Part:
    """One product of lists: a grid's own, or that of an `include`.

    Args:
        line: where it begins.
        options: option -> its values, one or more.
        settings: field below `set:` -> its values.
        controls: the controls are added to the methods.
    """

    line: int
    options: dict[str, list[Located]]
    settings: dict[str, list[Located]]
    controls: bool


@dataclass(frozen=True)
class Exclude:
    """Runs that are not wanted: those that have one of the values of every key.

    Args:
        line: where it begins.
        values: field of the run or its evaluation -> values.
    """

    line: int
    values: dict[str, list[Any]]


@dataclass(frozen=True)
class Grid:
    """One grid of one scenario.

    Args:
        line: where it begins.
        words: of the scenario.
        parts: the products, at least one.
        excludes: what is left out of all of them.
    """

    line: int
    words: Vocabulary
    parts: tuple[Part, ...]
    excludes: tuple[Exclude, ...]


def grids_of(path: Path, root: Located, elsewhere: Collection[str]) -> Iterator[Grid]:
    """Yield the grids of a file.

    Args:
        path: the file, for errors.
        root: its content.
        elsewhere: options that only the command line takes.

    Raises:
        UserError: an unknown key or value, a wrong type, an empty list; the sentence begins with file and
            line.
    """  # noqa: DOC501
    schema = _Schema(path, elsewhere)
    content = schema.mapping(root, "a grid file")
    if "grids" not in content:
        yield schema.grid(root, {})
        return
    for key in content:
        if key not in ("defaults", "grids"):
            raise LocatedError(
                path, content[key].line, f"{key}: beside grids: what all grids share stands below defaults:"
            )
    defaults = schema.mapping(content["defaults"], "defaults") if "defaults" in content else {}
    for key in ("include", "exclude"):
        if key in defaults:
            raise LocatedError(path, defaults[key].line, f"{key}: belongs to one of the grids")
    for grid in schema.list_of_mappings("grids", content["grids"]):
        yield schema.grid(grid, defaults)


class _Schema:
    """Checks the parts of one file."""

    def __init__(self, path: Path, elsewhere: Collection[str]) -> None:
        self.path, self.elsewhere = path, elsewhere

    def fail(self, at: Located, what: str) -> LocatedError:
        return LocatedError(self.path, at.line, what)

    def mapping(self, value: Located, what: str) -> dict[str, Located]:
        """Its keys with underscores for dashes."""
        if not isinstance(value.content, dict):
            raise self.fail(value, f"{what} is a mapping of keys to values, not {value.words}")
        found: dict[str, Located] = {}
        for key, entry in value.content.items():
            # The names of a piece's options and of fields have no dashes.
            name = key.replace("-", "_")
            if name in found:
                raise self.fail(entry, f"{name} is given twice, first on line {found[name].line}")
            found[name] = entry
        return found

    def list_of_mappings(self, key: str, value: Located) -> list[Located]:
        entries = value.content
        if not isinstance(entries, list):
            raise self.fail(value, f"{key}: a list of mappings is wanted, not {value.words}")
        if not entries:
            raise self.fail(value, f"{key}: the list is empty")
        return entries

    def grid(self, located: Located, defaults: Mapping[str, Located]) -> Grid:
        own = self.mapping(located, "a grid")
        common = self._completed(own, defaults)
        words = Vocabulary(form_of(self._scenario(located, common)))
        common.pop("scenario")
        include, exclude = common.pop("include", None), common.pop("exclude", None)
        parts = [self._part(located, common, words)]
        if include is not None:
            for entry in self.list_of_mappings("include", include):
                corner = self._completed(self.mapping(entry, "an include"), common)
                parts.append(self._part(entry, corner, words))
        entries = [] if exclude is None else self.list_of_mappings("exclude", exclude)
        excludes = tuple(self._exclude(entry, words) for entry in entries)
        return Grid(located.line, words, tuple(parts), excludes)

    def _completed(self, own: Mapping[str, Located], common: Mapping[str, Located]) -> dict[str, Located]:
        """Own keys win; settings are completed one by one."""
        completed = {**common, **own}
        if "set" in own and "set" in common:
            settings = {**self.mapping(common["set"], "set"), **self.mapping(own["set"], "set")}
            completed["set"] = Located(settings, own["set"].line)
        return completed

    def _scenario(self, located: Located, common: Mapping[str, Located]) -> str:
        known = ", ".join(SCENARIOS)
        if "scenario" not in common:
            raise self.fail(located, f"the grid names no scenario; write scenario: and one of {known}")
        value = common["scenario"]
        if not isinstance(value.content, str):
            raise self.fail(value, f"scenario: one of {known} is wanted, not {value.words}")
        with _At(self.path, value, "scenario"):
            return SCENARIOS.check(value.content)

    def _part(self, located: Located, keys: Mapping[str, Located], words: Vocabulary) -> Part:
        options: dict[str, list[Located]] = {}
        settings: dict[str, list[Located]] = {}
        controls = keys.get("controls", Located(False, located.line))
        if not isinstance(controls.content, bool):
            raise self.fail(controls, f"controls: true or false is wanted, not {controls.words}")
        for key, value in keys.items():
            if key == "set":
                entries = self.mapping(value, "set")
                settings = {n: self._settings(n, v, words) for n, v in entries.items()}
            elif key in words.options:
                options[key] = self._values(key, value, words)
            elif key != "controls":
                raise self._unknown(key, value, words)
        for key in settings:
            if key in options:
                raise self.fail(settings[key][0], f"set: {key} is given beside set: too")
        return Part(located.line, options, settings, controls.content)

    def _settings(self, name: str, value: Located, words: Vocabulary) -> list[Located]:
        with _At(self.path, value, "set"):
            words.check_setting(name)
        return self._values(name, value, words, "set: ", null=True)

    def _values(
        self, name: str, value: Located, words: Vocabulary, where: str = "", null: bool = False
    ) -> list[Located]:
        values = value.content if isinstance(value.content, list) else [value]
        with _At(self.path, value, f"{where}{name}"):
            values = [Located(one, v.line) for v in values for one in words.written_out(name, v.content)]
        if not values:
            raise self.fail(value, f"{where}{name}: the list is empty, so the grid spans nothing")
        for one in values:
            if isinstance(one.content, list):
                raise self.fail(one, f"{where}{name}: a list within a list")
            if one.content is None and not null:
                raise self.fail(one, f"{where}{name}: has no value; leave the key out for the usual one")
            with _At(self.path, one, f"{where}{name}"):
                words.check(name, one.plain)
        return values

    def _unknown(self, key: str, value: Located, words: Vocabulary) -> LocatedError:
        if key in ("include", "exclude", "scenario", "defaults", "grids"):
            return self.fail(value, f"{key}: can't stand here")
        if words.is_setting(key):
            return self.fail(value, f"{key}: stands below set:")
        if key in self.elsewhere:
            option = "--" + key.replace("_", "-")
            return self.fail(value, f"{key}: changes no result; give {option} on the command line")
        known = nearest(key, [*words.options, *_STRUCTURE])
        return self.fail(value, f"{key}: no such key; {known}")

    def _exclude(self, entry: Located, words: Vocabulary) -> Exclude:
        values = {}
        for name, value in self.mapping(entry, "an exclude").items():
            if name not in words.fields or name.endswith("_options"):
                known = nearest(name, [n for n in words.fields if not n.endswith("_options")])
                raise self.fail(value, f"exclude: {name}: no such key; {known}")
            found = [one.plain for one in self._values(name, value, words, "exclude: ", null=True)]
            if name == "method":
                found = expand_methods(words.form.scenario, found)
            elif name == "dataset":
                with _At(self.path, value, "exclude: dataset"):
                    found = [canonical_dataset(one) for one in found]
            values[name] = found
        if not values:
            raise self.fail(entry, "exclude: an empty mapping would leave out everything")
        return Exclude(entry.line, values)


class _At:
    """Gives what fails inside a place in the file and a name."""

    def __init__(self, path: Path, at: Located, name: str) -> None:
        self.path, self.at, self.name = path, at, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError):
            raise LocatedError(self.path, self.at.line, f"{self.name}: {error}") from None
