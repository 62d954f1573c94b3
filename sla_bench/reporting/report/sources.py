"""Which records are behind a row of the leaderboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from sla_bench.harness.store import EvaluationRecord, RunRecord
from sla_bench.registry import SCENARIOS
from sla_bench.reporting.reading import Reading

Cell = tuple[Any, ...]
Source = tuple[RunRecord, EvaluationRecord]


class Sources:
    """The trainings and evaluations of each cell.

    Args:
        records: those that the leaderboard was built from, of one scenario.
    """

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self._names: list[str] = []
        self._found: dict[Cell, dict[str, Source]] = {}
        for record in records:
            reading: Reading = SCENARIOS.load(record.config.scenario, "reading")
            # As in the leaderboard, the largest evaluation of a setting counts.
            for evaluation in sorted(record.evaluations, key=reading.test_size):
                setting = reading.setting_key(record, evaluation)
                for method in reading.rows(evaluation):
                    key = {**setting, "method": method}
                    self._names = list(key)
                    self._found.setdefault(tuple(key.values()), {})[record.run_id] = (record, evaluation)

    def cell(self, row: Mapping[Any, Any], method: str | None = None) -> Cell:
        """Return what identifies the cell of a row, or of another method in the same setting."""
        named = {name: row[name] for name in self._names} | ({} if method is None else {"method": method})
        return tuple(None if pd.isna(value) else value for value in named.values())

    def of(self, cell: Cell) -> list[Source]:
        """Return the trainings of a cell with their evaluations, in the order of the seeds."""
        return sorted(self._found.get(cell, {}).values(), key=lambda source: source[0].config.seed)
