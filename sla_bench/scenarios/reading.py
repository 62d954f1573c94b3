"""Readings of a scenario's records: values of rows, and their references."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from sla_bench.config import EvalConfig, RunConfig, columns

Row = Mapping[Any, Any]
"""A row of the leaderboard: column -> value; None or NaN where there is none."""


AT_EQUAL_COST: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "rot-x1": ("baseline",),
        "LoRot-I": ("baseline",),
        "LoRot-E": ("baseline",),
        "SLA-x1+SI": ("baseline",),
        "SLA-half+SI": ("baseline-x2",),
        "SSP": ("baseline-x2",),
        "RFS-distil": ("baseline-x2",),
        "S2M2": ("baseline-x2",),
        "SKD0": ("baseline-xM",),
        "HSAKD": ("baseline-xM",),
        "alike": ("baseline-xM",),
        "BCL": ("baseline-xM",),
        "SKD1": ("baseline-x2M",),
    }
)
"""Matched references of the rows of one pass whose training costs no more than its reference's."""

Contrast = Literal["primary", "confirmatory"]
"""A row that carries a p and a verdict: the primary contrast, or one of the table's confirmatory family."""


class Tested(Protocol):
    """A recorded evaluation.

    Attributes:
        config: the test.
        metrics: row -> metric -> value.
        samples: arrays from which the metrics can be computed again.
        data_hash: of the test data.
        rows: those that tables show.
    """

    @property
    def config(self) -> EvalConfig: ...  # noqa: D102
    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]: ...  # noqa: D102
    @property
    def samples(self) -> Mapping[str, np.ndarray]: ...  # noqa: D102
    @property
    def data_hash(self) -> str: ...  # noqa: D102
    @property
    def rows(self) -> Sequence[str]: ...  # noqa: D102


@dataclass(frozen=True)
class Value:
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
    """A comparison that docs/protocol.md names before the runs that answer it.

    Args:
        setting: part of the setting -> its value.
        learner: the head or the loss.
        method: the row.
        reference: what it is compared with.
        dataset: the only data set it is named for; None: all.
    """

    setting: Mapping[str, Any]
    learner: str
    method: str
    reference: str
    dataset: str | None = None

    def names(self, row: Row) -> bool:
        """Say whether a row of the leaderboard, without a batch in its names, is this comparison."""
        return (
            self.dataset in (None, row["dataset"])
            and all(row[part] == value for part, value in self.setting.items())
            and (row["learner"], row["method"], row["reference"])
            == (self.learner, self.method, self.reference)
        )


@dataclass(frozen=True)
class SettingAxis:
    """A part of a setting along which gains are drawn.

    Args:
        name: what the axis is called.
        part: the field.
        stem: file name of the figure, without ending.
    """

    name: str
    part: str
    stem: str


class Reading(ABC):
    """How the leaderboard reads one scenario.

    Attributes:
        primaries: the contrasts that decide, fixed beforehand.
        axis: along which gains are drawn; None where settings have no number.
        length: the field of a training that says how long it is.
        published_selection: which weights the trainings behind published values test.
        matched_references: method -> references of equal cost, fixed beforehand; they enter where they are
            recorded, and are the table's confirmatory family. Every method is compared with `baseline`.
        stand_ins: reference -> another that takes its place where it is not recorded.
        same_rows: row -> another of the same training that some learners make equal by construction.
        tests_new_classes: verdicts are about classes that were not tested.
        validates: histories hold accuracies on validation data.
        pictures: file names without ending of figures that only some scenarios have.
    """

    primaries: ClassVar[tuple[PrimaryContrast, ...]]
    axis: ClassVar[SettingAxis | None]
    length: ClassVar[str]
    published_selection: ClassVar[str]
    matched_references: ClassVar[Mapping[str, tuple[str, ...]]]
    stand_ins: ClassVar[Mapping[str, str]] = MappingProxyType({})
    same_rows: ClassVar[Mapping[str, str]] = MappingProxyType({})
    tests_new_classes: ClassVar[bool] = False
    validates: ClassVar[bool]
    pictures: ClassVar[tuple[str, ...]] = ()

    @property
    def published_training(self) -> dict[str, Any]:
        """Column -> what it says of the trainings behind published values."""
        found = {"budget": "paper", "selection": self.published_selection, "transform": "rotation"}
        return found | {name: usual for name, usual in columns().items() if name not in found}

    @property
    def matched_controls(self) -> frozenset[str]:
        """All matched references but the rows of the baseline itself."""
        names = {name for names in self.matched_references.values() for name in names}
        return frozenset(names - {"baseline", "baseline+TTA", "baseline+crops"})

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
    def values(self, evaluation: Tested, row: str) -> dict[str, Value]:
        """Metric -> value of one row, in the order of the table; "accuracy" comes first."""

    @abstractmethod
    def samples_of_tables(self, evaluation: Tested) -> dict[str, np.ndarray]:
        """The samples that `export --only-tables` keeps: those that tables and pictures are made of."""

    @abstractmethod
    def about(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Columns of the leaderboard that come straight from the metrics of a row."""

    def untested(self, training: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
        """Names of classes without a test image, from what is recorded of a training and of a row."""
        del training, metrics
        return []

    @abstractmethod
    def test_size(self, evaluation: Tested) -> tuple[Any, ...]:
        """Sorts evaluations of one setting: the largest is shown."""

    @abstractmethod
    def same_test(self, test: EvalConfig) -> tuple[Any, ...]:
        """Equal for evaluations of one setting that differ in their size only."""

    def order(self, test: EvalConfig) -> int:
        """Place of the rows of a test among those of other tests of a training."""
        del test
        return 0

    def notes(self, rows: Sequence[Row]) -> list[str]:
        """Sentences for a reader of these rows of the scenario."""
        del rows
        return []
