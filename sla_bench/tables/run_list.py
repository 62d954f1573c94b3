"""Recorded runs as texts, and the commands that reproduce them."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import yaml
from pydantic.fields import FieldInfo

from sla_bench.config import EvalConfig, RunConfig
from sla_bench.errors import UserError
from sla_bench.fields import Added, Adds, FromBudget, SetOnly, has
from sla_bench.grids.tasks import form_of, recipe_of
from sla_bench.records.data_states import short
from sla_bench.records.record_files import recorded_threads
from sla_bench.records.store import EvaluationRecord, RunRecord
from sla_bench.scenarios.form import Form
from sla_bench.tables.levelling import validation_of
from sla_bench.tables.row_key import method_of

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
    # What says which cell of a table it is stands in every command, even where it is the default of old.
    named = [
        "dataset",
        *(n for n in form.order if n in choosable and not _has_any(fields[n], FromBudget, Adds, Added)),
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


_SHOWN_NAMES = 5


def find_run(records: Iterable[RunRecord], beginning: str) -> RunRecord:
    """The run whose id begins so.

    Raises:
        UserError: there is none, or more than one.
    """
    records = list(records)
    found = [record for record in records if record.run_id.startswith(beginning)]
    if not found:
        beginnings = {record.run_id[: len(beginning)]: record.run_id for record in records}
        near = difflib.get_close_matches(beginning, beginnings, n=1, cutoff=0.7)
        meant = f"did you mean {beginnings[near[0]]}? " if near else ""
        raise UserError(f"no finished run begins with {beginning!r}; {meant}`runs` lists them")
    if len(found) > 1:
        names = ", ".join(record.run_id for record in found[:_SHOWN_NAMES])
        raise UserError(f"{len(found)} runs begin with {beginning!r}: {names}")
    return found[0]


def list_runs(records: Iterable[RunRecord], shown: Mapping[str, str]) -> list[str]:
    """A line each: id, what it is, state of its data, accuracies in %, how long the training took.

    Args:
        records: of a store.
        shown: data set -> state of its data that tables show; others are called older.
    """
    return [
        f"{record.run_id}  {_label(record)}{_states(record, shown)}: {_accuracies(record)}, "
        f"{record.done['train_seconds']:.0f} s"
        for record in records
    ]


def _states(record: RunRecord, shown: Mapping[str, str]) -> str:
    """As in ", data 25d4c1aa, older data 779f0a1b"."""
    states = dict.fromkeys((e.state, shown.get(e.data)) for e in record.evaluations)
    return "".join(f", {'data' if new in (None, s) else 'older data'} {short(s)}" for s, new in states)


def show_run(record: RunRecord) -> Iterator[str]:
    """A record in full, with the command that reproduces it."""
    yield f"{record.run_id}  {_label(record)}"
    yield f"folder: {record.folder}"
    yield ""
    yield from _lines("config", record.config.model_dump(mode="json"))
    yield from _lines("training", record.done)
    yield from _lines("environment", record.environment)
    for evaluation in record.evaluations:
        about = {**evaluation.config.model_dump(mode="json"), "data_state": evaluation.state}
        yield from _lines(f"evaluation {evaluation.folder.name}", about)
        for row, accuracy in _figures(evaluation).items():
            yield f"  {row}: accuracy {100 * accuracy:.2f} %"
        # On other threads sums are rounded in another order.
        on = f"--threads {recorded_threads(record.folder)}"
        yield f"  {command_of(record.config, evaluation.config)} {on}"
        yield ""


def compare_runs(first: RunRecord, second: RunRecord) -> Iterator[str]:
    """What differs between two runs: config, training, environment, and accuracies in the same evaluation."""
    yield f"{first.run_id}  {_label(first)}"
    yield f"{second.run_id}  {_label(second)}"
    yield ""
    parts = {
        "config": [r.config.model_dump(mode="json") for r in (first, second)],
        "training": [_flat(r.done) for r in (first, second)],
        "environment": [_flat(r.environment) for r in (first, second)],
    }
    for name, (one, other) in parts.items():
        keys = [k for k in {**one, **other} if one.get(k) != other.get(k)]
        if not keys:
            yield f"{name}: the same"
            continue
        yield f"{name}:"
        for key in keys:
            yield f"  {key}: {_short(one.get(key))} | {_short(other.get(key))}"
    yield ""
    for evaluation in first.evaluations:
        for match in (e for e in second.evaluations if e.config == evaluation.config):
            yield f"evaluation {evaluation.asked.words()}:"
            one, other = _figures(evaluation), _figures(match)
            for row in {**one, **other}:
                left, right = (f"{100 * a[row]:.2f} %" if row in a else "-" for a in (one, other))
                yield f"  {row}: {left} | {right}"


def _label(record: RunRecord) -> str:
    config = record.config
    views = "" if config.transform is None else f" {config.transform}"
    words = [
        config.dataset,
        record.asked.columns["learner"],
        config.backbone,
        config.budget,
        method_of(config),
    ]
    return f"{config.scenario} {' '.join(map(str, words))}{views} seed {config.seed}"


def _accuracies(record: RunRecord) -> str:
    texts = []
    for evaluation in record.evaluations:
        rows = ", ".join(f"{row} {100 * a:.1f}" for row, a in _figures(evaluation).items())
        texts.append(f"{evaluation.asked.words()}: {rows}")
    return "; ".join(texts) or f"not tested, validation {100 * validation_of(record):.1f} %"


def _figures(evaluation: EvaluationRecord) -> dict[str, float]:
    """Accuracy of each row that a table shows."""
    return {row: float(evaluation.metrics[row]["accuracy"]) for row in evaluation.rows}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _lines(title: str, content: Mapping[str, Any]) -> Iterator[str]:
    yield f"{title}:"
    for key, value in _flat(content).items():
        yield f"  {key}: {_short(value)}"
    yield ""


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > _SHOWN_NAMES:
        return f"{', '.join(map(str, value[:_SHOWN_NAMES]))}, ... ({len(value)})"
    return "-" if value is None or (isinstance(value, float) and pd.isna(value)) else str(value)
