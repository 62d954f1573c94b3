"""Figures of recorded evaluations, worked out from their samples once and kept beside the records."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sla_bench.harness.data_states import other_states, shown_states
from sla_bench.harness.record_cache import RecordCache
from sla_bench.harness.store import EvaluationRecord, RunRecord, Store
from sla_bench.reporting.cells import read_figures
from sla_bench.reporting.leaderboard import leaderboard
from sla_bench.reporting.reading import Figure, Reading
from sla_bench.reporting.row_cache import RowCache
from sla_bench.reporting.shown_records import shown_records

# Rises when a reading makes other figures of the same samples.
_VERSION = 3
_KIND = "figures"


def leaderboard_of(store: Store) -> pd.DataFrame:
    """The leaderboard of a store's records."""
    figures, rows = FigureCache(store.cache_file), RowCache(store.cache_file)
    records = shown_records(store)
    table = leaderboard(records, figures.of, rows.of)
    figures.save(store.records())
    rows.save()
    others = other_states(store.records(), shown_states(store))
    if others:
        table["other_states"] = [others.get(dataset) for dataset in table["dataset"]]
    return table


class FigureCache:
    """Reads figures of evaluations; those that were read before come from a file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._cache = RecordCache(path)
        self._changed: dict[str, tuple[str, bytes]] = {}

    @functools.cached_property
    def _known(self) -> dict[str, tuple[str, bytes]]:
        return self._cache.load(_KIND)

    def of(
        self, reading: Reading, record: RunRecord, evaluation: EvaluationRecord
    ) -> dict[str, dict[str, Figure]]:
        """Method -> metric -> figure, as the reading of the scenario gives them."""
        name = _name(record, evaluation)
        signature = f"{_VERSION} {record.signature}"
        kept = self._known.get(name)
        if kept is not None and kept[0] == signature:
            # A cache that is damaged costs time, nothing else.
            with suppress(ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
                return _unpack(kept[1])
        figures = read_figures(reading, record, evaluation)
        self._changed[name] = signature, _pack(figures)
        return figures

    def save(self, records: Iterable[RunRecord]) -> None:
        """Keep what was read anew; then also forget what is of none of these records, all of a store."""
        # Where nothing has changed, to read what is known would take as long as all else.
        if self._changed:
            there = {_name(record, evaluation) for record in records for evaluation in record.evaluations}
            self._cache.update(_KIND, self._changed, gone=self._known.keys() - there)
        self._changed = {}


def _name(record: RunRecord, evaluation: EvaluationRecord) -> str:
    return f"{record.run_id}/{evaluation.folder.name}"


def _pack(figures: dict[str, dict[str, Figure]]) -> bytes:
    """A line of JSON, then the bytes of all arrays one after the other."""
    arrays: list[bytes] = []
    # Methods share the classes of the test images.
    placed: dict[bytes, dict[str, Any]] = {}

    def place(array: np.ndarray | None) -> dict[str, Any] | None:
        if array is None:
            return None
        # A sample is a share of few queries, so that there are few different values.
        values, codes = np.unique(array, return_inverse=True)
        codes = codes.astype(np.min_scalar_type(max(len(values) - 1, 0)))
        content = codes.tobytes()
        key = content + values.tobytes() + repr(array.shape).encode()
        if key not in placed:
            start = sum(map(len, arrays))
            arrays.append(content)
            placed[key] = {
                "start": start,
                "shape": array.shape,
                "codes": codes.dtype.str,
                "values": values.tolist(),
                "type": values.dtype.str,
            }
        return placed[key]

    header = {
        method: {
            metric: {
                "value": figure.value,
                "percent": figure.percent,
                "higher_is_better": figure.higher_is_better,
                "samples": place(figure.samples),
                "strata": place(figure.strata),
                "classes": place(figure.classes),
            }
            for metric, figure in metrics.items()
        }
        for method, metrics in figures.items()
    }
    return json.dumps(header).encode() + b"\n" + b"".join(arrays)


def _unpack(content: bytes) -> dict[str, dict[str, Figure]]:
    head, _, arrays = content.partition(b"\n")

    def array(place: dict[str, Any] | None) -> np.ndarray | None:
        if place is None:
            return None
        size = math.prod(place["shape"])
        codes = np.frombuffer(arrays, place["codes"], size, place["start"])
        return np.array(place["values"], place["type"])[codes].reshape(place["shape"])

    return {
        method: {
            metric: Figure(
                figure["value"],
                array(figure["samples"]),
                array(figure["strata"]),
                array(figure["classes"]),
                figure["percent"],
                figure["higher_is_better"],
            )
            for metric, figure in metrics.items()
        }
        for method, metrics in json.loads(head).items()
    }
