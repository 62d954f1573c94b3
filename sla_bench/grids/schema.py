"""Grid files as checked grids; a mistake names file and line."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, create_model
from pydantic.fields import FieldInfo

from sla_bench.config import OptionValue
from sla_bench.data.folder_names import canonical_dataset
from sla_bench.errors import UserError, mistake_of, nearest
from sla_bench.fields import Axis, has
from sla_bench.grids.located_yaml import Located, LocatedError
from sla_bench.grids.settings import DATA, PIECES, place_settings, written_out
from sla_bench.grids.tasks import REGISTRIES, expand_methods, form_of, options_model, recipe_values
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.form import Form

_STRUCTURE = ("scenario", "set", "controls", "include", "exclude")
_OF_FILE = "committed_code"
"""Key of the whole file, not of one of its grids."""
Lists = dict[str, list[Located]]
"""Name of a field, or of an option of a piece (`learner.C`) -> its values, one or more."""


@dataclass(frozen=True)
class Part:
    """One product of lists: a grid's own, or that of an `include`.

    Args:
        at: where it begins.
        options: of `run SCENARIO`.
        settings: what stands below `set:`.
        controls: the controls are added to the methods.
    """

    at: Located
    options: Lists
    settings: Lists
    controls: bool


@dataclass(frozen=True)
class Exclude:
    """Runs that are not wanted: those that have one of the values of every key.

    Args:
        at: where it begins.
        values: field of the run or its evaluation -> values.
    """

    at: Located
    values: dict[str, list[Any]]


@dataclass(frozen=True)
class Grid:
    """One grid of one scenario.

    Args:
        at: where it begins.
        form: of the scenario.
        parts: the products, at least one.
        excludes: what is left out of all of them.
    """

    at: Located
    form: Form
    parts: tuple[Part, ...]
    excludes: tuple[Exclude, ...]


def checked(root: Located, elsewhere: Collection[str]) -> tuple[tuple[Grid, ...], bool]:
    """Return the grids of a file, and whether their records have to come from committed code.

    Args:
        root: the content of the file.
        elsewhere: options that only the command line takes.

    Raises:
        UserError: an unknown key or value, a wrong type, an empty list; the sentence begins with file and
            line.
    """
    content = _mapping(root, "a grid file")
    committed = _flag(content, _OF_FILE)
    content.pop(_OF_FILE, None)
    return tuple(_grids(root, content, elsewhere)), committed


def _grids(root: Located, content: dict[str, Located], elsewhere: Collection[str]) -> Iterator[Grid]:
    if "grids" not in content:
        yield _grid(root, content, elsewhere)
        return
    for key, value in content.items():
        if key not in ("defaults", "grids"):
            raise value.error(f"{key}: beside grids: what all grids share stands below defaults:")
    defaults = _mapping(content["defaults"], "defaults") if "defaults" in content else {}
    for key in ("include", "exclude"):
        if key in defaults:
            raise defaults[key].error(f"{key}: belongs to one of the grids")
    for at, grid in _mappings("grids", content["grids"], "a grid"):
        yield _grid(at, _completed(grid, defaults), elsewhere)


def _grid(at: Located, keys: dict[str, Located], elsewhere: Collection[str]) -> Grid:
    form = form_of(_scenario(at, keys))
    common = {key: value for key, value in keys.items() if key not in ("scenario", "include", "exclude")}
    corners = [(at, common)]
    if "include" in keys:
        found = _mappings("include", keys["include"], "an include")
        corners += [(corner, _completed(own, common)) for corner, own in found]
    excludes = _mappings("exclude", keys["exclude"], "an exclude") if "exclude" in keys else []
    return Grid(
        at,
        form,
        tuple(_part(form, corner, own, elsewhere) for corner, own in corners),
        tuple(_exclude(form, one, own) for one, own in excludes),
    )


def _mapping(at: Located, what: str) -> dict[str, Located]:
    """Its keys with underscores for dashes."""
    if not isinstance(at.content, dict):
        raise at.error(f"{what} is a mapping of keys to values, not {at.words}")
    found: dict[str, Located] = {}
    for key, value in at.content.items():
        # The names of a piece's options and of fields have no dashes.
        name = key.replace("-", "_")
        if name in found:
            raise value.error(f"{name} is given twice, first on line {found[name].line}")
        found[name] = value
    return found


def _mappings(key: str, value: Located, what: str) -> list[tuple[Located, dict[str, Located]]]:
    if not isinstance(value.content, list):
        raise value.error(f"{key}: a list of mappings is wanted, not {value.words}")
    if not value.content:
        raise value.error(f"{key}: the list is empty")
    return [(one, _mapping(one, what)) for one in value.content]


def _flag(keys: Mapping[str, Located], name: str) -> bool:
    if name not in keys:
        return False
    if not isinstance(content := keys[name].content, bool):
        raise keys[name].error(f"{name}: true or false is wanted, not {keys[name].words}")
    return content


def _completed(own: Mapping[str, Located], common: Mapping[str, Located]) -> dict[str, Located]:
    """Own keys win; settings are completed one by one."""
    completed = {**common, **own}
    if "set" in own and "set" in common:
        settings = {**_mapping(common["set"], "set"), **_mapping(own["set"], "set")}
        completed["set"] = own["set"].holding(settings)
    return completed


def _scenario(at: Located, keys: Mapping[str, Located]) -> str:
    known = ", ".join(SCENARIOS)
    if "scenario" not in keys:
        raise at.error(f"the grid names no scenario; write scenario: and one of {known}")
    value = keys["scenario"]
    if not isinstance(value.content, str):
        raise value.error(f"scenario: one of {known} is wanted, not {value.words}")
    with value.naming("scenario"):
        return SCENARIOS.check(value.content)


def _part(form: Form, at: Located, keys: Mapping[str, Located], elsewhere: Collection[str]) -> Part:
    options: Lists = {}
    settings: Lists = {}
    for key, value in keys.items():
        if key in options_model(form).model_fields:
            options[key] = _listed(form, key, value)
        elif key not in ("set", "controls"):
            raise _unknown(form, key, value, elsewhere)
    for key, value in (_mapping(keys["set"], "set") if "set" in keys else {}).items():
        if is_axis(form, key):
            raise value.error(f"set: {key} stands beside set:, not below it")
        if key in options:
            raise value.error(f"set: {key} is given beside set: too")
        with value.naming("set"):
            place_settings(form, [(key, None)])
        settings[key] = _listed(form, key, value, "set: ", null=True)
    _check(form, options)
    _check(form, settings, "set: ")
    return Part(at, options, settings, _flag(keys, "controls"))


def _unknown(form: Form, key: str, value: Located, elsewhere: Collection[str]) -> LocatedError:
    if key in ("include", "exclude", "scenario", "defaults", "grids", _OF_FILE):
        return value.error(f"{key}: can't stand here")
    piece, dot, _ = key.partition(".")
    if piece in (*PIECES, DATA) if dot else key in _fields(form):
        return value.error(f"{key}: stands below set:")
    if key in elsewhere:
        option = "--" + key.replace("_", "-")
        return value.error(f"{key}: changes no result; give {option} on the command line")
    known = nearest(key, [*options_model(form).model_fields, *_STRUCTURE, _OF_FILE])
    return value.error(f"{key}: no such key; {known}")


def _exclude(form: Form, at: Located, keys: Mapping[str, Located]) -> Exclude:
    if not keys:
        raise at.error("exclude: an empty mapping would leave out everything")
    known = [name for name in _fields(form) if not name.endswith("_options")]
    for name, value in keys.items():
        if name not in known:
            raise value.error(f"exclude: {name}: no such key; {nearest(name, known)}")
    lists = {name: _listed(form, name, value, "exclude: ", null=True) for name, value in keys.items()}
    _check(form, lists, "exclude: ")
    values = {name: [one.plain for one in found] for name, found in lists.items()}
    if "method" in values:
        values["method"] = expand_methods(form.scenario, values["method"])
    if "dataset" in values:
        with keys["dataset"].naming("exclude: dataset"):
            values["dataset"] = [canonical_dataset(name) for name in values["dataset"]]
    return Exclude(at, values)


def _fields(form: Form) -> dict[str, FieldInfo]:
    return {**form.evaluation.model_fields, **form.run.model_fields}


def is_axis(form: Form, name: str) -> bool:
    """The option takes a list wherever it is given."""
    return name in options_model(form).model_fields and has(_fields(form)[name], Axis)


def _listed(form: Form, name: str, value: Located, where: str = "", null: bool = False) -> list[Located]:
    """The values of a key, those of `0..4` and `0,1,2` written out where the option is an axis.

    Raises:
        UserError: an empty list, a list within a list, an empty value where `null` is false, or not a range.
    """
    parts = value.content if isinstance(value.content, list) else [value]
    try:
        found = [part.holding(one) for part in parts for one in _written_out(form, name, part.content)]
    except ValueError as error:
        raise value.error(f"{where}{name}: {error}") from None
    if not found:
        raise value.error(f"{where}{name}: the list is empty, so the grid spans nothing")
    for one in found:
        if isinstance(one.content, list):
            raise one.error(f"{where}{name}: a list within a list")
        if one.content is None and not null:
            raise one.error(f"{where}{name}: has no value; leave the key out for the usual one")
    return found


def _written_out(form: Form, name: str, content: Any) -> list[Any]:
    if not isinstance(content, str) or not is_axis(form, name):
        return [content]
    annotation = _fields(form)[name].annotation
    kind = next((k for k in (int, float) if annotation is k or k in get_args(annotation)), str)
    return [_number(kind, one) for one in written_out(kind, [content])]


def _number(kind: type, value: Any) -> Any:
    """A number that was written in a text; anything else is refused where values are checked."""
    try:
        return kind(value)
    except ValueError:
        return value


def _check(form: Form, lists: Lists, where: str = "") -> None:
    """Refuse values that a field can't have, whatever the others are; the first of the file is told."""
    try:
        _lists_model(form).model_validate({n: [one.plain for one in found] for n, found in lists.items()})
    except ValidationError as error:
        mistakes = [(lists[e["loc"][0]][e["loc"][1]], e) for e in error.errors()]  # type: ignore[index]
        at, first = min(mistakes, key=lambda mistake: mistake[0].line)
        raise at.error(f"{where}{first['loc'][0]}: {mistake_of(first)}") from None


def _plain(value: Any) -> Any:
    if not isinstance(value, OptionValue):
        raise ValueError("a number, a text, true or false is wanted")
    return value


class _Lists(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    # Options of pieces, as `learner.C`, whose own types are known when the piece is.
    __pydantic_extra__: dict[str, list[Annotated[Any, AfterValidator(_plain)]]]


@functools.cache
def _lists_model(form: Form) -> type[BaseModel]:
    """A list of values for each field of a run and its evaluation, as these declare it."""

    def known(name: str, value: Any) -> Any:
        try:
            if name == "method":
                expand_methods(form.scenario, [value])
            elif name in REGISTRIES and value is not None:
                REGISTRIES[name].check(value)
            elif name == "budget":
                recipe_values(form, value, _fields(form)["dataset"].default)
        except UserError as error:
            raise ValueError(str(error)) from None
        return value

    fields: dict[str, Any] = {}
    for name, info in _fields(form).items():
        check = AfterValidator(functools.partial(known, name))
        fields[name] = list[Annotated[info.annotation, *info.metadata, check]], []  # type: ignore[name-defined]
    return create_model("Lists", __base__=_Lists, **fields)
