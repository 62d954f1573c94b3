"""How records of classifiers of fixed classes are read, whatever they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sla_bench.config import ClassifierEvaluation, EvalConfig
from sla_bench.harness.store import EvaluationRecord
from sla_bench.reporting.reading import Figure, Reading
from sla_bench.reporting.row_names import reads_unknown_views
from sla_bench.statistics import strata_of


class ClassifierReading(Reading):
    """Accuracy per test image; recall of class groups, F1, G-mean and calibration per seed."""

    of_method: ClassVar = {**Reading.of_method, "loss_reduction": "mean"}
    matched_references: ClassVar = {
        "SLA+SI": ("baseline-xM",),
        "SLA+SD": ("baseline-xM", "DA+SD"),
        "SLA+AG": ("baseline-xM+crops", "ens-M", "DA+TTA"),
    }
    # records of older versions have no crops
    stand_ins: ClassVar = {"baseline-xM+crops": "baseline-xM"}

    def rows(self, evaluation: EvaluationRecord) -> list[str]:
        """The read-offs that a table shows, without averages over views that the head does not know."""
        return [row for row in super().rows(evaluation) if not reads_unknown_views(row)]

    def figures(self, evaluation: EvaluationRecord, method: str) -> dict[str, Figure]:
        """Accuracy over images; the others as one number."""
        metrics, samples = evaluation.metrics[method], evaluation.samples
        labels = samples["labels"]
        hits = samples[f"predictions/{method}"] == labels
        figures = {"accuracy": Figure(metrics["accuracy"], hits, strata_of(labels))}
        for group, accuracy in metrics["group_accuracy"].items():
            if accuracy is not None:
                figures[f"accuracy of {group}"] = Figure(accuracy)
        figures["macro F1"] = Figure(metrics["macro_f1"])
        figures["G-mean"] = Figure(metrics["g_mean"])
        figures["ECE"] = Figure(metrics["ece"], higher_is_better=False)
        figures["NLL"] = Figure(metrics["nll"], percent=False, higher_is_better=False)
        return figures

    def read_samples(self, evaluation: EvaluationRecord) -> dict[str, np.ndarray]:
        """Labels and predictions; confidences are in the metrics as calibration."""
        read = ("labels", "predictions/")
        return {name: array for name, array in evaluation.samples.items() if name.startswith(read)}

    def about(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Passes per test image."""
        return {"query_passes": metrics["query_passes"]}

    def test_size(self, evaluation: EvaluationRecord) -> tuple[int, int, str]:
        """More test images first, then the smaller test seed; other images count as another size."""
        assert isinstance(evaluation.config, ClassifierEvaluation)
        size = evaluation.config.images_per_class or 2**62
        return size, -evaluation.config.test_seed, evaluation.data_hash

    def same_test(self, test: EvalConfig) -> tuple[Any, ...]:
        """The views of +TTA."""
        return (test.transform,)
