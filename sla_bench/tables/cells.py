"""Records to cells: one metric of one method in one setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sla_bench.records.store import EvaluationRecord, RunRecord
from sla_bench.registry import METHODS, SCENARIOS
from sla_bench.scenarios.reading import Reading, Value
from sla_bench.tables.row_key import at_batch, facts_of, key_without_options, setting_key

_MOST_ROWS = 100
"""Of one evaluation."""
_RANKS = {method: rank for rank, method in enumerate(METHODS)}


def method_rank(method: str) -> int:
    """The place of a method as registered; one that is not known here comes last."""
    return _RANKS.get(method, len(_RANKS))


def told_batch(record: RunRecord) -> int | None:
    """The batch that the names of a record's rows tell: one that was asked for, not one that was tuned."""
    return None if record.tuned else record.config.batch_images


@dataclass
class Cell:
    """One metric of one method in one setting.

    Args:
        key: the columns that identify the cell.
        facts: what else tables know of the row.
        row: its name without the batch.
        batch: that the name of the method tells; None where it tells none.
        reading: of its scenario.
        place: where it stands in its setting: the method as registered, ensembles of it and other batches
            after it, rows and metrics as recorded.
        values: by seed.
        records: by seed.
        metrics: of the row, by seed.
        tests: size of the test, and hashes of the data of test and training, by seed.
    """

    key: dict[str, Any]
    facts: dict[str, Any]
    row: str
    batch: int | None
    reading: Reading
    place: tuple[int, int, int, int, int]
    values: dict[int, Value] = field(default_factory=dict)
    records: dict[int, RunRecord] = field(default_factory=dict)
    metrics: dict[int, dict[str, Any]] = field(default_factory=dict)
    tests: dict[int, tuple[Any, str, str | None]] = field(default_factory=dict)

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds whose test is the one that most seeds have (of equals the larger), ascending."""
        sizes = Counter(size for size, *_ in self.tests.values())
        if len(sizes) == 1:
            return sorted(self.tests)
        usual = max(sizes, key=lambda size: (sizes[size], size))
        return sorted(seed for seed, (size, *_) in self.tests.items() if size == usual)

    def seeds_shared_with(self, other: Cell) -> list[int]:
        """Seeds of both that were trained and tested on the same data, ascending."""
        theirs = set(other.seeds)
        return [s for s in self.seeds if s in theirs and self.tests[s] == other.tests[s]]


@dataclass(frozen=True)
class Found:
    """An evaluation, and the number of its setting."""

    record: RunRecord
    evaluation: EvaluationRecord
    reading: Reading
    setting: int

    @cached_property
    def size(self) -> Any:
        """Of the test."""
        return self.reading.test_size(self.evaluation)

    @property
    def training_data(self) -> str | None:
        """Hash of what the model was trained on; None in a record that does not say."""
        return self.record.done.get("data_hash")


@dataclass(frozen=True)
class Setting:
    """Evaluations that differ in method and seed only: rows are compared within a setting.

    Args:
        shared: the columns that its rows share.
        found: its evaluations.
        plain: evaluations of the setting that is like this one but for options of its method: what rows are
            compared with where this setting has not got it.
    """

    shared: dict[str, Any]
    found: list[Found] = field(default_factory=list)
    plain: list[Found] = field(default_factory=list)


def settings_of(records: Iterable[RunRecord]) -> list[Setting]:
    """Sort the evaluations of records into settings, in the order of the leaderboard.

    Records of different protocols are never of one setting.

    Args:
        records: all of a store.
    """
    numbers: dict[tuple[Any, ...], int] = {}
    settings: list[Setting] = []
    found = []
    plain: dict[int, tuple[Any, ...]] = {}
    for record in records:
        reading: Reading = SCENARIOS.load(record.config.scenario, "reading")
        for evaluation in record.evaluations:
            shared, recipe = setting_key(record, evaluation), evaluation.asked.recipe
            number = numbers.setdefault((*shared.values(), recipe), len(settings))
            if number == len(settings):
                settings.append(Setting(shared))
            found.append(Found(record, evaluation, reading, number))
            if without := key_without_options(record, evaluation):
                plain[number] = (*without.values(), recipe)
    for one in _most_common_tests(found):
        settings[one.setting].found.append(one)
    for number, identity in plain.items():
        if identity in numbers:
            settings[number].plain.extend(settings[numbers[identity]].found)
    same_words = Counter(identity[:-1] for identity in numbers)
    for identity, number in numbers.items():
        if same_words[identity[:-1]] > 1:
            settings[number].shared["budget"] += f", recipe {identity[-1]}"
    return [settings[numbers[identity]] for identity in sorted(numbers)]


_ByName = dict[tuple[str, str], Cell]
"""(method, metric) -> cell."""


class Cells:
    """The cells of one setting.

    Args:
        setting: its evaluations.
    """

    def __init__(self, setting: Setting) -> None:
        self._cells: _ByName = {}
        self._plain: _ByName = {}
        for found, cells in ((setting.found, self._cells), (setting.plain, self._plain)):
            for one in found:
                _add(cells, one, setting.shared)

    def __iter__(self) -> Iterator[Cell]:
        """Methods as registered, rows and metrics as recorded."""
        return iter(sorted(self._cells.values(), key=lambda cell: cell.place))

    def beside(self, cell: Cell, row: str) -> Cell | None:
        """The same metric of another row, if it is recorded: here, or else without options of a method.

        At the batch of the cell where there is one, else at the recipe's.
        """
        names = [(at_batch(row, batch), cell.key["metric"]) for batch in dict.fromkeys((cell.batch, None))]
        found = (cells.get(name) for cells in (self._cells, self._plain) for name in names)
        return next((one for one in found if one is not None and one is not cell), None)


def _add(cells: _ByName, found: Found, shared: dict[str, Any]) -> None:
    evaluation, config = found.evaluation, found.record.config
    rank, batch = method_rank(config.method), told_batch(found.record)
    first = _MOST_ROWS * found.reading.order(evaluation.config)
    for number, row in enumerate(evaluation.rows, first):
        method = at_batch(row, batch)
        for column, (metric, value) in enumerate(found.reading.values(evaluation, row).items()):
            cell = cells.get((method, metric))
            if cell is None:
                key = {**shared, "method": method, "metric": metric}
                facts = facts_of(found.record, evaluation, row, found.reading)
                place = (rank, config.members, batch or 0, number, column)
                cell = Cell(key, facts, row, batch, found.reading, place)
                cells[method, metric] = cell
            cell.values[config.seed], cell.records[config.seed] = value, found.record
            cell.metrics[config.seed] = evaluation.metrics[row]
            cell.tests[config.seed] = found.size, evaluation.data_hash, found.training_data


def _most_common_tests(found: list[Found]) -> list[Found]:
    """Of the evaluations of a run that differ in size only, the one that most runs have; then the largest."""
    runs = Counter((one.setting, one.size) for one in found)
    best: dict[tuple[Any, ...], Found] = {}
    for one in found:
        test = one.evaluation.state, one.reading.same_test(one.evaluation.config)
        key = (one.record.run_id, one.record.tuned, *test)
        best[key] = max(best.get(key, one), one, key=lambda each: (runs[each.setting, each.size], each.size))
    return list(best.values())


def shared_classes(values: Sequence[Value]) -> np.ndarray | None:
    """Classes of the episodes that all seeds share; None where each seed has its own, or none are named."""
    named = [f.classes for f in values if f.classes is not None]
    same = len(named) == len(values) and all(np.array_equal(named[0], classes) for classes in named)
    return named[0] if same else None


def stacked(values: Sequence[Value]) -> np.ndarray:
    """Samples of all seeds, (S, T)."""
    return np.stack([f.samples for f in values if f.samples is not None])
