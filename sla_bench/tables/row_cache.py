"""The records that tables show, and their rows, kept beside them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import resources

import numpy as np
import pandas as pd
import scipy

from sla_bench.grids.tuning import Choice, choice_of, group_of
from sla_bench.records.data_states import of_states, on_data, other_states, shown_states
from sla_bench.records.forked import on_all_cores
from sla_bench.records.record_cache import RecordCache
from sla_bench.records.store import RunRecord, Store
from sla_bench.records.tuning_file import TuningFile
from sla_bench.tables.cells import Setting
from sla_bench.tables.leaderboard import Rows, WorkOut, leaderboard
from sla_bench.tables.table_texts import is_missing


def shown_records(store: Store) -> list[RunRecord]:
    """The records of a store as tables show them: of each data set one state, tuned ones marked."""
    states = shown_states(store)
    records = of_states(store.records(), states)
    return with_tuned(records, TuningFile(store.folder).choices(states.values()))


def with_tuned(records: Iterable[RunRecord], choices: Mapping[str, Choice]) -> list[RunRecord]:
    """Return the records, those at a chosen learning rate and batch marked as tuned.

    Where the chosen rate is the recipe's, the training stands twice: as the recipe's, perhaps at another
    batch, and as the tuned one.

    Args:
        records: of a store.
        choices: `tuning.group_of` -> rate and batch.
    """
    if not choices:
        return list(records)
    found = []
    for record in records:
        run = record.config
        choice = choices.get(group_of(run))
        is_chosen = choice is not None and choice == choice_of(run)
        if not is_chosen or "learning_rate" not in record.asked.departures:
            found.append(record)
        if is_chosen:
            found.append(replace(record, tuned=True))
    return found


_KIND = "rows"
_WORTH_A_PROCESS = 20
"""Settings."""


def leaderboard_of(store: Store) -> pd.DataFrame:
    """The leaderboard of a store's records.

    Rows of a setting of which neither a record nor the code has changed come from the store's cache.
    """
    store, cache = store.snapshot(), RecordCache(store.cache_file)
    known = cache.load(_KIND)
    changed: dict[str, tuple[str, bytes]] = {}
    seen: set[str] = set()

    def recall(settings: Sequence[Setting], work_out: WorkOut) -> list[Rows]:
        names = [hashlib.sha256(repr(setting.shared).encode()).hexdigest() for setting in settings]
        signatures = list(map(_signature, settings))
        seen.update(names)
        found = [_kept(known.get(n), signature) for n, signature in zip(names, signatures, strict=True)]
        open_ones = [place for place, rows in enumerate(found) if rows is None]
        worked_out = on_all_cores(work_out, [settings[k] for k in open_ones], each=_WORTH_A_PROCESS)
        for place, rows in zip(open_ones, worked_out, strict=True):
            found[place] = rows
            changed[names[place]] = signatures[place], json.dumps(rows).encode()
        return [rows for rows in found if rows is not None]

    table = leaderboard(shown_records(store), recall)
    cache.update(_KIND, changed, gone=known.keys() - seen)
    others = other_states(store.records(), shown_states(store))
    if others:
        data = zip(table["dataset"], table["test_dataset"], strict=True)
        table["other_states"] = [others.get(on_data(d, None if is_missing(t) else t)) for d, t in data]
    return table


def _kept(kept: tuple[str, bytes] | None, signature: str) -> Rows | None:
    if kept is not None and kept[0] == signature:
        # A cache that is damaged costs time, nothing else.
        with suppress(ValueError, RecursionError):
            rows: Rows = json.loads(kept[1].decode())
            return rows
    return None


def _signature(setting: Setting) -> str:
    records = [
        [
            (one.record.run_id, one.record.signature, one.record.tuned, one.evaluation.folder.name)
            for one in part
        ]
        for part in (setting.found, setting.plain)
    ]
    return hashlib.sha256(repr((code_digest(), records)).encode()).hexdigest()


@functools.cache
def code_digest() -> str:
    """Changes with whatever rows are worked out with: our code, published values, NumPy and SciPy."""
    digest = hashlib.sha256(f"{np.__version__} {scipy.__version__}".encode())
    for package in ("", ".tables", ".scenarios", ".scenarios.fewshot", ".scenarios.classify", ".grids"):
        for file in sorted(resources.files(f"sla_bench{package}").iterdir(), key=lambda file: file.name):
            if file.name.endswith((".py", ".csv")):
                digest.update(file.read_bytes())
    return digest.hexdigest()
