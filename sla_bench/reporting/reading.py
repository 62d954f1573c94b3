"""How the records of a scenario are read: which cell of the leaderboard a row belongs to, and its figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from sla_bench.config import Axis, EvalConfig, FromBudget, RunConfig
from sla_bench.grid import budget_of, form_of, has
from sla_bench.harness.store import EvaluationRecord, RunRecord, Store


@dataclass(frozen=True)
class Figure:
    """One metric of one row of one seed.

    Args:
        value: what is shown, as a fraction where `percent` is set.
        samples: (T,) values whose mean it is, the same samples for every method and seed; None where it is
            not such a mean.
        strata: (T,) class of each sample where samples are drawn within class.
        percent: it is a share, shown in %.
        higher_is_better: a gain is an increase.
    """

    value: float
    samples: np.ndarray | None = None
    strata: np.ndarray | None = None
    percent: bool = True
    higher_is_better: bool = True


class Reading(ABC):
    """What the leaderboard has to know about one scenario.

    Attributes:
        matched_references: method -> further references, fixed beforehand; they enter where they are
            recorded. Every method is compared with `baseline`.
        validates: histories hold accuracies on validation data.
        elsewhere: fields with a default of the budget that are told by another column, or follow the test.
    """

    matched_references: ClassVar[Mapping[str, tuple[str, ...]]]
    validates: ClassVar[bool]
    elsewhere: ClassVar[frozenset[str]]

    @abstractmethod
    def setting(self, run: RunConfig, test: EvalConfig) -> str:
        """What is tested, in the words of published.csv."""

    @abstractmethod
    def learner(self, run: RunConfig) -> str:
        """The head or the loss."""

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
    def about(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Columns of the leaderboard that come straight from the metrics of a row."""

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

    def pictures(self, store: Store, table: pd.DataFrame) -> list[Path]:
        """Draw what only this scenario has."""
        del store, table
        return []

    def notes(self, table: pd.DataFrame) -> list[str]:
        """What a reader of this scenario's table has to know."""
        del table
        return []

    def budget_label(self, run: RunConfig, test: EvalConfig) -> str:
        """Name the budget and whatever departs from it: "quick", "quick, steps=200"."""
        recipe = budget_of(form_of(run.scenario), run.budget, run.dataset)
        departures = []
        for config in (run, test):
            for name, info in type(config).model_fields.items():
                told = name in self.elsewhere or has(info, Axis)
                if has(info, FromBudget) and not told:
                    value = getattr(config, name)
                    departures += [f"{name}={value}"] if value != recipe[name] else []
        departures += self.departures(run, test, recipe)
        for name in type(run).model_fields:
            if name.endswith("_options"):
                departures += [f"{n}={v}" for n, v in sorted(getattr(run, name).items())]
        if run.threads != RunConfig.model_fields["threads"].default:
            departures.append(f"threads={run.threads}")
        return ", ".join([run.budget, *departures])

    def key(self, record: RunRecord, evaluation: EvaluationRecord, method: str) -> dict[str, Any]:
        """The columns that identify a cell, all but the metric."""
        run, test = record.config, evaluation.config
        return {
            "scenario": run.scenario,
            "dataset": run.dataset,
            "setting": self.setting(run, test),
            "learner": self.learner(run),
            "transform": test.transform,
            "backbone": run.backbone,
            "budget": self.budget_label(run, test),
            "train_shots": self.train_shots(run),
            "selection": self.selection(run),
            "precision": run.precision,
            "sampler": self.sampler(run),
            "protocol": evaluation.protocol,
            "method": method,
        }
