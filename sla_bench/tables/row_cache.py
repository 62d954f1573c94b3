"""The records that tables show, and their rows, kept beside them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from sla_bench.grids.tuning import Choice, choice_of, group_of
from sla_bench.records.data_states import of_states, other_states, shown_states
from sla_bench.records.record_cache import RecordCache
from sla_bench.records.store import RunRecord, Store
from sla_bench.records.tuning_file import TuningFile
from sla_bench.tables.cells import Setting
from sla_bench.tables.leaderboard import Rows, WorkOut, leaderboard


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


def leaderboard_of(store: Store) -> pd.DataFrame:
    """The leaderboard of a store's records."""
    cache = RowCache(store.cache_file)
    table = leaderboard(shown_records(store), recall=cache.of)
    cache.save()
    others = other_states(store.records(), shown_states(store))
    if others:
        table["other_states"] = [others.get(dataset) for dataset in table["dataset"]]
    return table


class RowCache:
    """Gives the rows of settings; those of which neither a record nor the code has changed come from a file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._cache = RecordCache(path)
        self._known = self._cache.load(_KIND)
        self._changed: dict[str, tuple[str, bytes]] = {}
        self._seen: set[str] = set()

    def of(self, setting: Setting, work_out: WorkOut) -> Rows:
        """Return the rows of a setting."""
        name = hashlib.sha256(repr(setting.shared).encode()).hexdigest()
        self._seen.add(name)
        signature = _signature(setting)
        kept = self._known.get(name)
        if kept is not None and kept[0] == signature:
            # A cache that is damaged costs time, nothing else.
            with suppress(ValueError, RecursionError):
                known: Rows = json.loads(kept[1].decode())
                return known
        rows = work_out(setting)
        self._changed[name] = signature, json.dumps(rows).encode()
        return rows

    def save(self) -> None:
        """Keep what was worked out anew, and forget settings that are no longer there."""
        self._cache.update(_KIND, self._changed, gone=self._known.keys() - self._seen)
        self._changed = {}


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
    """Changes with whatever rows are worked out with: our code, published figures, NumPy and SciPy."""
    digest = hashlib.sha256(f"{np.__version__} {scipy.__version__}".encode())
    for package in ("", ".tables", ".scenarios", ".scenarios.fewshot", ".scenarios.classify", ".grids"):
        for file in sorted(resources.files(f"sla_bench{package}").iterdir(), key=lambda file: file.name):
            if file.name.endswith((".py", ".csv")):
                digest.update(file.read_bytes())
    return digest.hexdigest()
