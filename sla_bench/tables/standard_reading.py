"""How records of classifiers trained on whole data sets are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sla_bench.config import EvalConfig, RunConfig, StandardRun
from sla_bench.records.store import EvaluationRecord, Store
from sla_bench.tables.classifier_reading import ClassifierReading
from sla_bench.tables.reading import Figure, PrimaryContrast

if TYPE_CHECKING:
    import matplotlib.figure

_GROUP = "accuracy of "


class StandardReading(ClassifierReading):
    """As every classifier's; class groups only where the data set has classes of different size."""

    primaries = (PrimaryContrast("full", "ce", "SLA+AG", "ens-M"),)
    axis = None
    length = "steps"
    published_training: ClassVar = {
        "budget": "paper",
        "selection": "validation",
        "transform": "rotation",
        "precision": "fp32",
    }
    validates = True
    elsewhere = frozenset({"selection", "val_fraction"})

    def setting(self, run: RunConfig, test: EvalConfig) -> str:
        """All images; with what is done to them on top of crop and flip, as in "full, cutmix"."""
        del test
        assert isinstance(run, StandardRun)
        return "full" if run.mix == "none" else f"full, {run.mix}"

    def learner(self, run: RunConfig) -> str:
        """The loss."""
        del run
        return "ce"

    def members(self, run: RunConfig) -> int:
        """Size of the ensemble."""
        assert isinstance(run, StandardRun)
        return run.ensemble

    def selection(self, run: RunConfig) -> str:
        """Which weights are tested."""
        assert isinstance(run, StandardRun)
        return run.selection

    def figures(self, evaluation: EvaluationRecord, method: str) -> dict[str, Figure]:
        """Those of every classifier, without a group that holds all classes."""
        figures = super().figures(evaluation, method)
        groups = [name for name in figures if name.startswith(_GROUP)]
        return {n: f for n, f in figures.items() if len(groups) > 1 or n not in groups}

    def departures(self, run: RunConfig, test: EvalConfig, recipe: Mapping[str, Any]) -> list[str]:
        """Which images are held out, and the reduction of the joint loss."""
        del test
        assert isinstance(run, StandardRun)
        found = []
        if run.val_indices is not None:
            found.append(f"val_indices={run.val_indices_hash}")
        elif run.val_fraction != recipe["val_fraction"]:
            found.append(f"val_fraction={run.val_fraction:g}")
        for name in ("val_seed", "loss_reduction"):
            value = getattr(run, name)
            found += [f"{name}={value}"] if value != StandardRun.model_fields[name].default else []
        return found

    def pictures(self, store: Store) -> dict[str, matplotlib.figure.Figure | None]:
        """Confusions."""
        from sla_bench.tables.class_results import class_results
        from sla_bench.tables.figures.classes import confusions_figure
        from sla_bench.tables.shown_records import shown_records

        return {"confusions": confusions_figure(class_results(shown_records(store)))}


READING = StandardReading()
