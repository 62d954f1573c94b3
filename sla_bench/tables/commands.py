"""The command that reproduces a record, from the record alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from sla_bench.config import Adds, EvalConfig, FromBudget, RunConfig, SetOnly, has
from sla_bench.grids.tasks import form_of, recipe_of
from sla_bench.scenarios.form import Form

_PIECE_OPTIONS = "_options"


def command_of(run: RunConfig, evaluation: EvalConfig) -> str:
    """Return the command line, quoted for a POSIX shell, that spans exactly this training and evaluation.

    What the budget, the data set or other options fill in with the same value is left out.
    """
    return _command(run.scenario, _options(run, evaluation), [run.seed])


def commands_of(pairs: Iterable[tuple[RunConfig, EvalConfig]]) -> list[str]:
    """Return as few commands as span these: what differs in nothing but the seed shares one."""
    seeds: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for run, evaluation in pairs:
        seeds.setdefault((run.scenario, tuple(_options(run, evaluation))), []).append(run.seed)
    return [_command(scenario, words, own) for (scenario, words), own in seeds.items()]


def _command(scenario: str, words: Sequence[str], seeds: Sequence[int]) -> str:
    repeated = [word for seed in seeds for word in ("--seed", str(seed))]
    return shlex.join(["python", "-m", "sla_bench", "run", scenario, *words, *repeated])


def _options(run: RunConfig, evaluation: EvalConfig) -> list[str]:
    """All but the seed, as words of the command line."""
    form = form_of(run.scenario)
    # What belongs to the test comes first: training fields follow it.
    fields: dict[str, FieldInfo] = {**type(evaluation).model_fields, **type(run).model_fields}
    recorded = {**dict(run), **dict(evaluation)}
    choosable = [n for n in fields if n not in ("scenario", "seed") and not n.endswith(_PIECE_OPTIONS)]
    # What says which cell of a table it is stands in every command, even where it is the default.
    named = [
        "dataset",
        *(n for n in form.order if n in choosable and not _has_any(fields[n], FromBudget, Adds)),
        "budget",
    ]
    given = {name: recorded[name] for name in named}
    filled_in = _filled_in(form, run, given)
    for name in choosable:
        if name not in given and recorded[name] != filled_in.get(name, fields[name].default):
            given[name] = recorded[name]
            # A field that is said can change what others are filled in with.
            filled_in = _filled_in(form, run, given)
    return [w for n, value in given.items() for w in _words(n, fields[n], value)] + _piece_options(run)


def _filled_in(form: Form, run: RunConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    said = {"seed": run.seed, **given}
    values = {**recipe_of(run), **said}
    form.complete(values, said)
    return values


def _words(name: str, info: FieldInfo, value: Any) -> list[str]:
    # No option can say "none", and one that adds trainings says too much; --set can.
    if _has_any(info, SetOnly, Adds) or value is None:
        return ["--set", f"{name}={_as_yaml(value)}"]
    return [f"--{name.replace('_', '-')}", f"{value:g}" if _is_short(value) else str(value)]


def _has_any(info: FieldInfo, *markers: type) -> bool:
    return any(has(info, marker) for marker in markers)


def _is_short(value: Any) -> bool:
    return isinstance(value, float) and float(f"{value:g}") == value


def _piece_options(run: RunConfig) -> list[str]:
    recipe = recipe_of(run)
    return [
        word
        for name in type(run).model_fields
        if name.endswith(_PIECE_OPTIONS)
        for option, value in sorted(getattr(run, name).items())
        if option not in recipe.get(name, {}) or recipe[name][option] != value
        for word in ("--set", f"{name.removesuffix(_PIECE_OPTIONS)}.{option}={_as_yaml(value)}")
    ]


def _as_yaml(value: Any) -> str:
    """A text that `--set` reads as this value."""
    try:
        same = isinstance(value, str) and yaml.safe_load(value) == value
    except (yaml.YAMLError, ValueError, RecursionError):
        same = False
    return str(value) if same else json.dumps(value)
