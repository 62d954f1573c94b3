"""States of the data: records of the same images, newest first."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sla_bench.errors import UserError
from sla_bench.records.files import json_bytes, write_bytes
from sla_bench.registry import SCENARIOS

if TYPE_CHECKING:
    from sla_bench.records.store import EvaluationRecord, RunRecord, Store

UNKNOWN = "unknown"
"""Stands for the state of records of earlier versions that do not tell it."""
_SHORT = 8


def state_of_parts(training: str | None, test: str) -> str:
    """Return the state of data, 16 hex digits, from the hashes of training and test data."""
    return hashlib.sha256(f"{training or ''} {test}".encode()).hexdigest()[:16]


def on_data(dataset: str, test_dataset: str | None) -> str:
    """The data of an evaluation in words: the data set, and that of the test where it is another."""
    return dataset if test_dataset is None else f"{dataset} on {test_dataset}"


def short(state: str) -> str:
    """The digits of a state that people see."""
    return state[:_SHORT]


def settled(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Let records of earlier versions share a state where the seed splits their classes.

    Such records hold hashes of the parts of their seed only. They share the state that seed 0 gives, else
    `UNKNOWN`, unless two records of a seed contradict each other.
    """
    open_states: dict[str, dict[int, set[str]]] = {}
    for record in records:
        if _is_open(record):
            states = open_states.setdefault(record.config.dataset, {}).setdefault(record.config.seed, set())
            states |= {e.state for e in record.evaluations if not e.state_is_recorded}
    shared = {
        dataset: next(iter(seeds.get(0, {UNKNOWN})))
        for dataset, seeds in open_states.items()
        if all(len(states) == 1 for states in seeds.values())
    }
    return [_in_state(r, shared[r.config.dataset]) if r.config.dataset in shared else r for r in records]


def _is_open(record: RunRecord) -> bool:
    return any(not e.state_is_recorded for e in record.evaluations) and _splits_by_seed(
        record.config.scenario, record.config.dataset
    )


@functools.lru_cache(maxsize=1024)
def _splits_by_seed(scenario: str, dataset: str) -> bool:
    from sla_bench.data.named import dataset_named

    if SCENARIOS[scenario].by != "classes":
        return False
    try:
        return dataset_named(dataset).split_depends_on_seed
    except UserError:
        return True


def _in_state(record: RunRecord, state: str) -> RunRecord:
    evaluations = (e if e.state_is_recorded else replace(e, state=state) for e in record.evaluations)
    return replace(record, evaluations=tuple(evaluations))


def shown_states(store: Store) -> dict[str, str]:
    """Data set, or training's on test's as in "cifar_fs on omniglot" -> the state that tables show.

    It is the one that the command saw (`Store.seen`), else the newest: of the newest record, or one that a
    later command came back to (`note_seen`). Records of this version's protocol stand before all others. A
    state without a record is never shown.
    """
    times: dict[str, dict[str, tuple[bool, float]]] = {}
    for record in store.records():
        for evaluation in record.evaluations:
            own = times.setdefault(evaluation.data, {})
            age = protocol_of(record, evaluation) == record.config.protocol, evaluation.written
            own[evaluation.state] = max(own.get(evaluation.state, age), age)
    for dataset, (state, moment) in _noted(store).items():
        if state in times.get(dataset, {}):
            is_current, written = times[dataset][state]
            times[dataset][state] = is_current, max(written, moment)
    newest = {d: max(own, key=lambda state: (own[state], state)) for d, own in times.items() if own}
    return newest | {d: s for d, s in store.seen.items() if s in times.get(d, {})}


def note_seen(store: Store) -> None:
    """Let later commands show what this one shows, where that is not the newest state.

    Where nothing can be written, nothing is noted.
    """
    newest = shown_states(store.snapshot(seen={}))
    again = {d: (s, time.time()) for d, s in shown_states(store).items() if newest[d] != s}
    if again:
        with suppress(UserError):
            write_bytes(_file(store), json_bytes({**_noted(store), **again}))


def protocol_of(record: RunRecord, evaluation: EvaluationRecord) -> int:
    """The protocol of a test: that of its training where that is older."""
    return min(evaluation.protocol, int(record.done["protocol"]))


def of_states(records: Iterable[RunRecord], states: Mapping[str, str]) -> list[RunRecord]:
    """The records with those evaluations only whose data were in the state given for their data set."""
    found = []
    for record in records:
        state = states.get(record.config.dataset)
        own = tuple(e for e in record.evaluations if e.state == states.get(e.data))
        if own or (not record.evaluations and record.done.get("data_state", state) == state):
            found.append(record if len(own) == len(record.evaluations) else replace(record, evaluations=own))
    return found


def other_states(records: Iterable[RunRecord], states: Mapping[str, str]) -> dict[str, str]:
    """Data set -> in words, how many runs are recorded of which other states; without it where none are."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        others = {(e.data, e.state) for e in record.evaluations if e.state != states.get(e.data)}
        for data, state in others:
            counts.setdefault(data, Counter())[state] += 1
    return {
        dataset: ", ".join(f"{short(state)} ({_runs(n)})" for state, n in sorted(own.items()))
        for dataset, own in counts.items()
        if own
    }


def _runs(count: int) -> str:
    return f"{count:,} run{'s' * (count != 1)}"


def _file(store: Store) -> Path:
    return store.folder / "states.json"


def _noted(store: Store) -> dict[str, tuple[str, float]]:
    try:
        content = json.loads(_file(store).read_bytes())
        return {str(dataset): (str(state), float(at)) for dataset, (state, at) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
