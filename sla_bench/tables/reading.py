"""Reading of a scenario's records: cells of the leaderboard and their metrics."""

from __future__ import annotations

import functools
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel

from sla_bench.config import Axis, EvalConfig, FromBudget, RunConfig
from sla_bench.grids.tasks import budget_of, fields_with, form_of, learner_or_loss
from sla_bench.grids.tuning import at_recipe_rate
from sla_bench.records.data_states import protocol_of
from sla_bench.records.store import EvaluationRecord, RunRecord, Store
from sla_bench.tables.row_names import at_batch

if TYPE_CHECKING:
    import matplotlib.figure

Row = Mapping[Any, Any]
"""A row of the leaderboard: column -> value; None or NaN where there is none."""


Contrast = Literal["primary", "confirmatory"]
"""A row that carries a p and a verdict: the primary contrast, or one of the table's confirmatory family."""


@dataclass(frozen=True)
class Figure:
    """One metric of one row of one seed.

    Args:
        value: what is shown, as a fraction where `percent` is set.
        samples: (T,) values whose mean it is, the same samples for every method and seed; None where it is
            not such a mean.
        strata: (T,) class of each sample where samples are drawn within class.
        classes: (T, W) classes of each sample where samples are episodes; None in records without them.
        percent: it is a share, shown in %.
        higher_is_better: a gain is an increase.
    """

    value: float
    samples: np.ndarray | None = None
    strata: np.ndarray | None = None
    classes: np.ndarray | None = None
    percent: bool = True
    higher_is_better: bool = True


@dataclass(frozen=True)
class PrimaryContrast:
    """A comparison that docs/protocols.md names before the runs that answer it.

    Args:
        setting_end: how the words of its setting end.
        learner: the head or the loss.
        method: the row.
        reference: what it is compared with.
        dataset: the only data set it is named for; None: all.
    """

    setting_end: str
    learner: str
    method: str
    reference: str
    dataset: str | None = None

    def names(self, row: Row) -> bool:
        """Whether a row of the leaderboard, without a batch in its names, is this comparison."""
        return (
            self.dataset in (None, row["dataset"])
            and row["setting"].endswith(self.setting_end)
            and (row["learner"], row["method"], row["reference"])
            == (self.learner, self.method, self.reference)
        )


@dataclass(frozen=True)
class SettingAxis:
    """A number in the words of a setting along which gains are drawn.

    Args:
        name: what the axis is called.
        pattern: finds the number in the setting; its only group is the number.
        stem: file name of the figure, without ending.
    """

    name: str
    pattern: str
    stem: str

    def split(self, setting: str) -> tuple[str, float] | None:
        """Return the words of the setting without the number, and the number; None where it has none."""
        found = re.search(self.pattern, setting)
        if found is None:
            return None
        rest = setting[: found.start()] + " " + setting[found.end() :]
        return " ".join(rest.split()), float(found[1])


class Reading(ABC):
    """What the leaderboard has to know about one scenario.

    Attributes:
        primaries: the contrasts that decide, fixed beforehand.
        axis: along which gains are drawn; None where settings have no number.
        length: the field of a training that says how long it is.
        published_training: column -> what it says of the trainings behind published figures.
        matched_references: method -> further references, fixed beforehand; they enter where they are
            recorded, and are the table's confirmatory family. Every method is compared with `baseline`.
        stand_ins: reference -> another that takes its place where it is not recorded.
        tests_new_classes: verdicts are about classes that were not tested.
        validates: histories hold accuracies on validation data.
        elsewhere: fields with a default of the budget that are told by another column, or follow the test.
        of_method: fields of a training that some methods read and the baseline does not -> their defaults.
    """

    primaries: ClassVar[tuple[PrimaryContrast, ...]]
    axis: ClassVar[SettingAxis | None]
    length: ClassVar[str]
    published_training: ClassVar[Mapping[str, str]]
    matched_references: ClassVar[Mapping[str, tuple[str, ...]]]
    stand_ins: ClassVar[Mapping[str, str]] = MappingProxyType({})
    tests_new_classes: ClassVar[bool] = False
    validates: ClassVar[bool]
    elsewhere: ClassVar[frozenset[str]]
    of_method: ClassVar[Mapping[str, Any]] = MappingProxyType({"method_options": {}})

    @property
    def matched_controls(self) -> frozenset[str]:
        """All further references: the controls of equal cost."""
        return frozenset(name for names in self.matched_references.values() for name in names)

    @property
    def contrasted(self) -> frozenset[str]:
        """Both sides of every matched contrast, and of the primary ones."""
        primary = {side for one in self.primaries for side in (one.method, one.reference)}
        return self.matched_controls.union(primary, self.matched_references, self.stand_ins.values())

    def contrast(self, row: Row, matched: bool) -> Contrast | None:
        """Say what a row of the leaderboard is for; None: exploration, which carries no p.

        Args:
            row: its method and reference by their names without a batch.
            matched: the reference is one of `references`.
        """
        if row["metric"] != "accuracy":
            return None
        if any(primary.names(row) for primary in self.primaries):
            return "primary"
        return "confirmatory" if matched else None

    def references(self, row: str, run: RunConfig) -> tuple[str, ...]:
        """The further references of a row of a training."""
        del run
        return self.matched_references.get(row, ())

    @abstractmethod
    def setting(self, run: RunConfig, test: EvalConfig) -> str:
        """What is tested, in the words of published.csv."""

    @abstractmethod
    def learner(self, run: RunConfig) -> str:
        """The head or the loss."""

    def members(self, run: RunConfig) -> int:
        """How many models of its method a training averages at test."""
        del run
        return 1

    def method(self, run: RunConfig) -> str:
        """The method; as in "baseline ens-8" where models of it are averaged, "sla (batch 64)" at a batch."""
        members = self.members(run)
        return at_batch(run.method if members == 1 else f"{run.method} ens-{members}", run.batch_images)

    def train_shots(self, run: RunConfig) -> int | None:
        """Shots in training, where there are any."""
        del run
        return None

    def sampler(self, run: RunConfig) -> str:
        """How training images are drawn."""
        del run
        return "uniform"

    @abstractmethod
    def selection(self, run: RunConfig) -> str:
        """Which weights are tested."""

    @abstractmethod
    def figures(self, evaluation: EvaluationRecord, method: str) -> dict[str, Figure]:
        """Metric -> figure of one row, in the order of the table; "accuracy" comes first."""

    @abstractmethod
    def samples_of_tables(self, evaluation: EvaluationRecord) -> dict[str, np.ndarray]:
        """The samples that `export --only-tables` keeps: those that tables and pictures are made of."""

    @abstractmethod
    def about(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Columns of the leaderboard that come straight from the metrics of a row."""

    def untested(self, record: RunRecord, metrics: Mapping[str, Any]) -> list[str]:
        """Names of classes without a test image, from the record and the metrics of a row."""
        del record, metrics
        return []

    @abstractmethod
    def test_size(self, evaluation: EvaluationRecord) -> tuple[Any, ...]:
        """Sorts evaluations of one setting: the largest is shown."""

    @abstractmethod
    def same_test(self, test: EvalConfig) -> tuple[Any, ...]:
        """Equal for evaluations of one setting that differ in their size only."""

    def rows(self, evaluation: EvaluationRecord) -> list[str]:
        """The read-offs that a table shows."""
        return [method for method, metrics in evaluation.metrics.items() if metrics.get("shown", True)]

    def departures(self, run: RunConfig, test: EvalConfig, recipe: Mapping[str, Any]) -> list[str]:
        """Fields beyond the budget's that are not as usual."""
        del run, test, recipe
        return []

    def pictures(self, store: Store) -> dict[str, matplotlib.figure.Figure | None]:
        """File name without ending -> figure that only this scenario has; None without data."""
        del store
        return {}

    def notes(self, rows: Sequence[Row]) -> list[str]:
        """What a reader of these rows of the scenario has to know."""
        del rows
        return []

    def budget_label(self, run: RunConfig, test: EvalConfig) -> str:
        """Name the budget and whatever departs from it: "quick", "quick, steps=200"."""
        recipe = _recipe_of(run)
        departures = []
        for config in (run, test):
            # Attributes of a pydantic model take several times as long as its dict.
            values = vars(config)
            departures += [
                f"{name}={values[name]}"
                for name in _told_by_budget(type(config), self.elsewhere)
                if values[name] != recipe[name]
            ]
        departures += self.departures(run, test, recipe)
        for name in _options_fields(type(run)):
            usual = recipe.get(name, {})
            options = sorted(getattr(run, name).items())
            departures += [f"{n}={v}" for n, v in options if n not in usual or usual[n] != v]
        if run.threads != RunConfig.model_fields["threads"].default:
            departures.append(f"threads={run.threads}")
        return ", ".join([run.budget, *departures])

    def _budget(self, record: RunRecord, test: EvalConfig) -> str:
        if not record.tuned:
            return self.budget_label(record.config, test)
        return self.budget_label(at_recipe_rate(record.config), test) + ", tuned"

    def setting_key(self, record: RunRecord, evaluation: EvaluationRecord) -> dict[str, Any]:
        """The columns that identify a cell, all but method and metric."""
        run, test = record.config, evaluation.config
        return {
            "scenario": run.scenario,
            "dataset": run.dataset,
            "data_state": evaluation.state,
            "setting": self.setting(run, test),
            "learner": self.learner(run),
            "transform": test.transform,
            "backbone": run.backbone,
            "budget": self._budget(record, test),
            "train_shots": self.train_shots(run),
            "selection": self.selection(run),
            "precision": run.precision,
            "sampler": self.sampler(run),
            "protocol": protocol_of(record, evaluation),
        }

    def key_without_method_options(
        self, record: RunRecord, evaluation: EvaluationRecord
    ) -> dict[str, Any] | None:
        """`setting_key` as if its method had no options; None where it has none.

        There stand the references of a method whose options make it a setting of its own.
        """
        values = vars(record.config)
        if all(values[name] == default for name, default in self.of_method.items()):
            return None
        plain = record.config.model_copy(update=dict(self.of_method))
        return self.setting_key(replace(record, config=plain), evaluation)

    def usual_test(self, run: RunConfig) -> EvalConfig:
        """The test that the budget of a training has."""
        recipe = _recipe_of(run)
        kind = form_of(run.scenario).evaluation
        return kind(**{name: recipe[name] for name in kind.model_fields if name in recipe})

    def training_key(self, record: RunRecord) -> dict[str, str]:
        """What tells trainings apart beside data set, pieces and length, however they were tested."""
        run, test = record.config, self.usual_test(record.config)
        as_long = run.model_copy(update={self.length: _recipe_of(run)[self.length]})
        recipe_words = self._budget(replace(record, config=as_long), test)
        if record.done["protocol"] != run.protocol:
            recipe_words += f", protocol {record.done['protocol']}"
        return {"setting": self.setting(run, test), "recipe": recipe_words}


# A label is wanted of each of thousands of records: what depends on their kind only is found once.


@functools.cache
def _told_by_budget(model: type[BaseModel], elsewhere: frozenset[str]) -> tuple[str, ...]:
    apart = {*fields_with(model, Axis), *elsewhere, "precision"}
    return tuple(n for n in fields_with(model, FromBudget) if n not in apart)


@functools.cache
def _options_fields(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name in model.model_fields if name.endswith("_options"))


def _recipe_of(run: RunConfig) -> Mapping[str, Any]:
    return _recipe(run.scenario, run.budget, run.dataset, learner_or_loss(vars(run)))


@functools.cache
def _recipe(scenario: str, budget: str, dataset: str, learner: str | None) -> Mapping[str, Any]:
    return MappingProxyType(budget_of(form_of(scenario), budget, dataset, learner))
