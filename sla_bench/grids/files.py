"""Grids from files: YAML in, tasks out, every mistake with its line."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sla_bench.config import EvalConfig, RunConfig
from sla_bench.errors import UserError, nearest
from sla_bench.grids.located_yaml import Located, read_yaml
from sla_bench.grids.schema import Exclude, Grid, Part, checked, is_axis
from sla_bench.grids.settings import place_settings
from sla_bench.grids.tasks import Point, Task, expand_methods, join, options_model, points
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.form import Form
from sla_bench.words import confirm

UNASKED = 10_000
"""Runs that a grid may span without a question."""


@dataclass(frozen=True)
class GridFile:
    """What a file spans.

    Args:
        grids: of the file, in order.
        committed_code: its records have to come from a commit without local changes.
    """

    grids: tuple[Grid, ...]
    committed_code: bool

    @property
    def size(self) -> int:
        """Number of combinations, counted without building them; excluded and double ones are in it."""
        return sum(_size(grid.form, part) for grid in self.grids for part in grid.parts)

    def tasks(self) -> dict[str, list[Task]]:
        """Scenario -> its trainings, without doubles, those of all grids joined.

        Raises:
            UserError: a combination makes no sense, an exclude matches nothing, or nothing is left; the
                sentence begins with file and line.
        """
        found: dict[str, list[Point]] = {}
        for grid in self.grids:
            found.setdefault(grid.form.scenario, []).extend(self._points(grid))
        return {scenario: join(wanted) for scenario, wanted in found.items()}

    def _points(self, grid: Grid) -> list[Point]:
        filters = [_Filter(exclude) for exclude in grid.excludes]

        def left_out(run: RunConfig, evaluation: EvalConfig) -> bool:
            # Each is asked, so that each knows whether it matches anything.
            return max((f.matches(run, evaluation) for f in filters), default=False)

        found: list[Point] = []
        for part in grid.parts:
            try:
                for options, fixed in _combinations(grid.form, part):
                    found += points(grid.form, options, fixed, left_out)
            except UserError as error:
                raise _at_fault(str(error), part).error(str(error)) from None
        for one in filters:
            if not one.matched:
                raise one.exclude.at.error("exclude: matches no run of this grid")
        if not found:
            raise grid.at.error("the grid spans nothing: its excludes leave no run")
        return found


def read_grid_file(path: Path, elsewhere: Collection[str] = ()) -> GridFile:
    """Read a file and check every key and value by itself.

    Args:
        path: the file.
        elsewhere: options that only the command line takes, for the error.

    Raises:
        UserError: the file can't be read, or something in it is wrong; the sentence begins with file and
            line.
    """
    return GridFile(*checked(read_yaml(path), elsewhere))


def open_grid_file(path: Path, yes: bool, elsewhere: Collection[str] = ()) -> GridFile:
    """Read a file as `read_grid_file`, and ask before a grid of more than UNASKED runs.

    Args:
        path: the file.
        yes: don't ask.
        elsewhere: options that only the command line takes.

    Raises:
        UserError: a mistake in the file, the name of a scenario that does not exist, or the user says no.
    """
    if not path.suffix and not path.exists() and path.name == str(path):
        raise UserError(f"{path}: no such file and no such scenario; {nearest(path.name, SCENARIOS)}")
    grids = read_grid_file(path, elsewhere)
    if grids.size > UNASKED:
        confirm(f"{path} spans up to {grids.size:,} runs", "Continue?", yes)
    return grids


@dataclass
class _Filter:
    """An exclude at work; remembers whether it ever matched."""

    exclude: Exclude
    matched: bool = field(default=False)

    def matches(self, run: RunConfig, evaluation: EvalConfig) -> bool:
        for name, values in self.exclude.values.items():
            owner = evaluation if name in type(evaluation).model_fields else run
            if getattr(owner, name) not in values:
                return False
        self.matched = True
        return True


def _size(form: Form, part: Part) -> int:
    lengths = [len(v) for n, v in {**part.options, **part.settings}.items() if n != "method"]
    # Axes that are not named have their default, and those of the budget one value.
    defaults = _defaults(form)
    lengths += [len(defaults[n]) or 1 for n in form.order if n not in {*part.options, "method"}]
    return math.prod([*lengths, len(expand_methods(form.scenario, _methods(form, part)))])


def _defaults(form: Form) -> dict[str, Any]:
    return options_model(form)().model_dump()


def _methods(form: Form, part: Part) -> list[str]:
    given = part.options.get("method")
    names = [v.content for v in given] if given else list(form.default_methods)
    return [*names, "controls"] if part.controls else names


def _combinations(form: Form, part: Part) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield (options, fixed) as `points` takes them: one of each list that is no axis."""
    axes = {n: [v.plain for v in values] for n, values in part.options.items() if is_axis(form, n)}
    common = {**_defaults(form), **axes, "method": _methods(form, part)}
    scalars = [n for n in part.options if n not in axes]
    lists = [*(part.options[n] for n in scalars), *part.settings.values()]
    for values in itertools.product(*lists):
        chosen = [v.plain for v in values]
        options = {**common, **dict(zip(scalars, chosen, strict=False))}
        settings = zip(part.settings, chosen[len(scalars) :], strict=True)
        yield options, place_settings(form, settings)


_OPTION = re.compile(r"--(?:set )?'?([A-Za-z][\w.-]*)'?(?:[ =]([^\s:;,)]+))?")
_NAMED = re.compile(r"\b([a-z_]+) '([^']+)'")


def _at_fault(message: str, part: Part) -> Located:
    """Where that stands of which a sentence of `points` speaks: `--option value` or `option 'value'`."""
    given = {**part.options, **part.settings}
    for name, value in [*_OPTION.findall(message), *_NAMED.findall(message)]:
        if values := given.get(name.replace("-", "_")):
            return next((v for v in values if str(v.content) == value), values[0])
    return part.at
