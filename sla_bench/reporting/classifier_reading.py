"""How records of classifiers of fixed classes are read, whatever they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sla_bench.config import ClassifierEvaluation, EvalConfig
from sla_bench.harness.store import EvaluationRecord, RunRecord
from sla_bench.reporting.reading import Figure, Reading
from sla_bench.statistics import strata_of


class ClassifierReading(Reading):
    """Accuracy per test image; recall of class groups, F1, G-mean and calibration per seed."""

    of_method: ClassVar = {**Reading.of_method, "loss_reduction": "mean"}
    matched_references: ClassVar = {
        "SLA+SI": ("baseline-xM",),
        "SLA+SD": ("baseline-xM",),
        # +TTA is the easier match where the other views were never trained
        "SLA+AG": ("baseline-xM", "baseline-xM+TTA", "ens-M"),
    }

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

    def untested(self, record: RunRecord, metrics: Mapping[str, Any]) -> list[str]:
        """Names of classes that have no recall."""
        recalls = zip(record.done["class_names"], metrics["recalls"], strict=True)
        return [name for name, recall in recalls if recall is None]

    def test_size(self, evaluation: EvaluationRecord) -> tuple[int, str]:
        """More test images first; tests on other images are of another size, since seeds share the images."""
        assert isinstance(evaluation.config, ClassifierEvaluation)
        return evaluation.config.images_per_class or 2**62, evaluation.data_hash

    def same_test(self, test: EvalConfig) -> tuple[Any, ...]:
        """The views of +TTA."""
        return (test.transform,)
