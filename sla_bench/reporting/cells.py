"""From records to cells: one metric of one method in one setting, for each seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sla_bench.errors import UserError
from sla_bench.harness.store import EvaluationRecord, RunRecord
from sla_bench.registry import METHODS, SCENARIOS
from sla_bench.reporting.reading import Figure, Reading

_ORDER = (
    "dataset",
    "backbone",
    "budget",
    "precision",
    "selection",
    "sampler",
    "transform",
    "setting",
    "learner",
    "train_shots",
)

ReadFigures = Callable[[Reading, RunRecord, EvaluationRecord], Mapping[str, Mapping[str, Figure]]]
"""Method -> metric -> figure of an evaluation."""


def read_figures(
    reading: Reading, record: RunRecord, evaluation: EvaluationRecord
) -> dict[str, dict[str, Figure]]:
    """Work the figures out from the samples."""
    del record
    return {method: reading.figures(evaluation, method) for method in reading.rows(evaluation)}


@dataclass
class Cell:
    """One metric of one method in one setting.

    Args:
        setting: number of the setting; cells that differ in method and metric only share it.
        key: the columns that identify the cell.
        reading: of its scenario.
        place: where it stands in its setting: the method as registered, rows and metrics as recorded.
        figures: by seed.
        records: by seed.
        metrics: of the row, by seed.
    """

    setting: int
    key: dict[str, Any]
    reading: Reading
    place: tuple[int, int, int]
    figures: dict[int, Figure] = field(default_factory=dict)
    records: dict[int, RunRecord] = field(default_factory=dict)
    metrics: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def seeds(self) -> set[int]:
        """Seeds that have a figure."""
        return set(self.figures)


class Cells:
    """All cells of some records.

    Args:
        records: all of a store.
        figures: reads those of an evaluation.

    Raises:
        UserError: records of different protocol versions.
    """

    def __init__(self, records: Iterable[RunRecord], figures: ReadFigures) -> None:
        records = list(records)
        self._figures = figures
        _check_protocols(records)
        self._cells: dict[tuple[int, str, str], Cell] = {}
        self._settings: dict[tuple[Any, ...], int] = {}
        self._rank = {method: rank for rank, method in enumerate(METHODS)}
        readings: dict[str, Reading] = {
            name: SCENARIOS.load(name, "reading") for name in {r.config.scenario for r in records}
        }
        for record in records:
            reading = readings[record.config.scenario]
            for evaluation in _largest(record.evaluations, reading):
                self._add(record, evaluation, reading)

    def __iter__(self) -> Iterator[Cell]:
        """Settings together, the methods of each as registered, rows and metrics as recorded."""
        settings = sorted(self._settings.items(), key=lambda item: item[0][: len(_ORDER)])
        rank = {number: place for place, (_, number) in enumerate(settings)}
        return iter(sorted(self._cells.values(), key=lambda cell: (rank[cell.setting], *cell.place)))

    def beside(self, cell: Cell, method: str) -> Cell | None:
        """The same setting and metric of another method, if it is recorded."""
        return self._cells.get((cell.setting, method, cell.key["metric"]))

    def _add(self, record: RunRecord, evaluation: EvaluationRecord, reading: Reading) -> None:
        shared = reading.setting_key(record, evaluation)
        identity = (*(shared[name] for name in _ORDER), *shared.values())
        setting = self._settings.setdefault(identity, len(self._settings))
        rank = self._rank.get(record.config.method, len(self._rank))
        seed = record.config.seed
        for row, (method, metrics) in enumerate(self._figures(reading, record, evaluation).items()):
            for column, (metric, figure) in enumerate(metrics.items()):
                cell = self._cells.get((setting, method, metric))
                if cell is None:
                    key = {**shared, "method": method, "metric": metric}
                    cell = Cell(setting, key, reading, (rank, row, column))
                    self._cells[setting, method, metric] = cell
                cell.figures[seed], cell.records[seed] = figure, record
                cell.metrics[seed] = evaluation.metrics[method]


def _check_protocols(records: list[RunRecord]) -> None:
    protocols = {e.protocol for r in records for e in r.evaluations}
    if len(protocols) > 1:
        raise UserError(
            f"the records follow different protocols ({', '.join(map(str, sorted(protocols)))}); "
            "they can't stand in one table: use another --out for one of them"
        )


def _largest(evaluations: Iterable[EvaluationRecord], reading: Reading) -> list[EvaluationRecord]:
    """Of evaluations of one setting, the one with most samples."""
    best: dict[tuple[Any, ...], EvaluationRecord] = {}
    for evaluation in evaluations:
        key = reading.same_test(evaluation.config)
        if key not in best or reading.test_size(evaluation) > reading.test_size(best[key]):
            best[key] = evaluation
    return list(best.values())
