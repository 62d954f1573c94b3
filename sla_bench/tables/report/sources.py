"""Which records are behind a row of the leaderboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from sla_bench.records.store import EvaluationRecord, RunRecord
from sla_bench.scenarios.reading import Figure, Reading
from sla_bench.tables.cells import Cells, settings_of

Cell = tuple[Any, ...]


class Source(NamedTuple):
    """A training and its evaluation, and the recorded row, whose name tells no batch."""

    record: RunRecord
    evaluation: EvaluationRecord
    row: str


class Sources:
    """The trainings and evaluations of each cell: those that its row of the leaderboard was made from.

    Args:
        records: those that the leaderboard was built from, of one scenario.
    """

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self._names: list[str] = []
        self._found: dict[Cell, list[Source]] = {}
        for setting in settings_of(records):
            evaluations = {one.record.run_id: one.evaluation for one in setting.found}
            for cell in Cells(setting, _no_figures):
                key = {**setting.shared, "method": cell.key["method"]}
                self._names = list(key)
                behind = [cell.records[seed] for seed in cell.seeds]
                self._found[tuple(key.values())] = [
                    Source(run, evaluations[run.run_id], cell.row) for run in behind
                ]

    def cell(self, row: Mapping[Any, Any], method: str | None = None) -> Cell:
        """Return what identifies the cell of a row, or of another method in the same setting."""
        named = {name: row[name] for name in self._names} | ({} if method is None else {"method": method})
        return tuple(None if pd.isna(value) else value for value in named.values())

    def of(self, cell: Cell) -> list[Source]:
        """Return the trainings of a cell with their evaluations, in the order of the seeds."""
        return self._found.get(cell, [])


def _no_figures(reading: Reading, evaluation: EvaluationRecord) -> dict[str, dict[str, Figure]]:
    """The rows of an evaluation; which records are behind them can be told without reading samples."""
    del reading
    return {method: {"accuracy": Figure(float("nan"))} for method in evaluation.rows}
