"""From records to cells: one metric of one method in one setting, for each seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
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
        tests: size of the test and hash of its data, by seed.
    """

    setting: int
    key: dict[str, Any]
    reading: Reading
    place: tuple[int, int, int]
    figures: dict[int, Figure] = field(default_factory=dict)
    records: dict[int, RunRecord] = field(default_factory=dict)
    metrics: dict[int, dict[str, Any]] = field(default_factory=dict)
    tests: dict[int, tuple[Any, str]] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        """Seeds whose test is the one that most seeds have (of equals the larger), ascending."""
        sizes = Counter(size for size, _ in self.tests.values())
        if len(sizes) == 1:
            return sorted(self.tests)
        usual = max(sizes, key=lambda size: (sizes[size], size))
        return sorted(seed for seed, (size, _) in self.tests.items() if size == usual)

    def seeds_shared_with(self, other: Cell) -> list[int]:
        """Seeds of both on the same test of the same data, ascending."""
        theirs = set(other.seeds)
        return [s for s in self.seeds if s in theirs and self.tests[s] == other.tests[s]]


@dataclass(frozen=True)
class _Found:
    """An evaluation, the columns that its rows share, and the number of their setting."""

    record: RunRecord
    evaluation: EvaluationRecord
    reading: Reading
    shared: dict[str, Any]
    setting: int

    @cached_property
    def size(self) -> Any:
        return self.reading.test_size(self.evaluation)


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
        found = [
            _Found(record, evaluation, reading, shared, self._number(shared))
            for record in records
            for reading in (readings[record.config.scenario],)
            for evaluation in record.evaluations
            for shared in (reading.setting_key(record, evaluation),)
        ]
        for one in _most_common_tests(found):
            self._add(one)

    def _number(self, shared: dict[str, Any]) -> int:
        identity = (*(shared[name] for name in _ORDER), *shared.values())
        return self._settings.setdefault(identity, len(self._settings))

    def __iter__(self) -> Iterator[Cell]:
        """Settings together, the methods of each as registered, rows and metrics as recorded."""
        settings = sorted(self._settings.items(), key=lambda item: item[0][: len(_ORDER)])
        rank = {number: place for place, (_, number) in enumerate(settings)}
        return iter(sorted(self._cells.values(), key=lambda cell: (rank[cell.setting], *cell.place)))

    def beside(self, cell: Cell, method: str) -> Cell | None:
        """The same setting and metric of another method, if it is recorded."""
        return self._cells.get((cell.setting, method, cell.key["metric"]))

    def _add(self, found: _Found) -> None:
        evaluation, reading, setting = found.evaluation, found.reading, found.setting
        config = found.record.config
        rank = self._rank.get(config.method, len(self._rank))
        figures = self._figures(reading, found.record, evaluation)
        for row, (method, metrics) in enumerate(figures.items()):
            for column, (metric, figure) in enumerate(metrics.items()):
                cell = self._cells.get((setting, method, metric))
                if cell is None:
                    key = {**found.shared, "method": method, "metric": metric}
                    cell = Cell(setting, key, reading, (rank, row, column))
                    self._cells[setting, method, metric] = cell
                cell.figures[config.seed], cell.records[config.seed] = figure, found.record
                cell.metrics[config.seed] = evaluation.metrics[method]
                cell.tests[config.seed] = found.size, evaluation.data_hash


def _check_protocols(records: list[RunRecord]) -> None:
    protocols = {e.protocol for r in records for e in r.evaluations}
    if len(protocols) > 1:
        raise UserError(
            f"the records follow different protocols ({', '.join(map(str, sorted(protocols)))}); "
            "they can't stand in one table: use another --out for one of them"
        )


def _most_common_tests(found: list[_Found]) -> list[_Found]:
    """Of the evaluations of a run that differ in size only, the one that most runs have; then the largest."""
    runs = Counter((one.setting, one.size) for one in found)
    best: dict[tuple[Any, ...], _Found] = {}
    for one in found:
        key = (one.record.run_id, one.record.tuned, one.reading.same_test(one.evaluation.config))
        other = best.get(key)
        if other is None or (runs[one.setting, one.size], one.size) > (
            runs[other.setting, other.size],
            other.size,
        ):
            best[key] = one
    return list(best.values())
