"""Reading of the records of classifiers of fixed classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from sla_bench.config import ClassifierEvaluation, EvalConfig
from sla_bench.evaluation.class_metrics import expected_calibration_error, recorded
from sla_bench.evaluation.crossed_error import strata_of
from sla_bench.records.store import EvaluationRecord, RunRecord
from sla_bench.tables.reading import Figure, Reading, Row
from sla_bench.tables.row_names import reads_unknown_views


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
        # Computed here, so that a table of records and of their export is the same.
        if (confidence := samples.get(f"confidence/{method}")) is not None:
            error = expected_calibration_error(recorded(confidence), hits)
            figures["ECE"] = Figure(error, higher_is_better=False)
        if (nll := samples.get(f"nll/{method}")) is not None:
            mean = float(recorded(nll).mean(dtype=np.float64))
            figures["NLL"] = Figure(mean, percent=False, higher_is_better=False)
        return figures

    def notes(self, rows: Sequence[Row]) -> list[str]:
        """Calibration that cannot be computed from the records."""
        calibrated = {_row_key(row) for row in rows if row["metric"] == "ECE"}
        if all(_row_key(row) in calibrated for row in rows):
            return []
        sentence = (
            "ECE and NLL are empty where the records hold no confidences; `export --only-tables` keeps those "
            "of rows in confirmatory and primary contrasts."
        )
        return [sentence]

    def samples_of_tables(self, evaluation: EvaluationRecord) -> dict[str, np.ndarray]:
        """Labels and predictions; confidence and -log p of the rows of contrasts only."""
        kept = {"labels"}
        for row in self.rows(evaluation):
            kinds = ("predictions", "confidence", "nll") if row in self.contrasted else ("predictions",)
            kept |= {f"{kind}/{row}" for kind in kinds}
        return {name: array for name, array in evaluation.samples.items() if name in kept}

    def about(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Passes per test image."""
        return {"query_passes": metrics["query_passes"]}

    def untested(self, record: RunRecord, metrics: Mapping[str, Any]) -> list[str]:
        """Names of classes that have no recall."""
        recalls = zip(record.done["class_names"], metrics["recalls"], strict=True)
        return [name for name, recall in recalls if recall is None]

    def test_size(self, evaluation: EvaluationRecord) -> tuple[int, int, str]:
        """More test images first, then the smaller test seed; other images count as another size."""
        assert isinstance(evaluation.config, ClassifierEvaluation)
        size = evaluation.config.images_per_class or 2**62
        return size, -evaluation.config.test_seed, evaluation.data_hash

    def same_test(self, test: EvalConfig) -> tuple[Any, ...]:
        """The views of +TTA."""
        return (test.transform,)


def _row_key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("dataset", "setting", "learner", "budget", "method"))
