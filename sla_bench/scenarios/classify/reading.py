"""How records of classifiers of fixed classes are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from sla_bench.config import ClassifierEvaluation, EvalConfig, ImbalancedEvaluation, RunConfig
from sla_bench.evaluation.class_metrics import expected_calibration_error, recorded
from sla_bench.evaluation.crossed_error import strata_of
from sla_bench.registry import STAGE_TWO
from sla_bench.scenarios.reading import (
    AT_EQUAL_COST,
    PrimaryContrast,
    Reading,
    Row,
    SettingAxis,
    Tested,
    Value,
)

_GROUP = "accuracy of "


class ClassifierReading(Reading):
    """Accuracy per test image; recall of class groups, F1, G-mean and calibration per seed."""

    matched_references: ClassVar = {
        "SLA+SI": ("baseline-xM",),
        "SLA+SD": ("baseline-xM", "DA+SD"),
        "SLA+AG": ("baseline-xM+crops", "ens-M", "DA+TTA"),
        **AT_EQUAL_COST,
        "rot-x1+TTA": ("baseline+crops",),
        "SLA-x1+AG": ("baseline+crops", "ens-M"),
        "SLA-half+AG": ("baseline-x2+crops", "ens-M"),
        "S2M2+TTA": ("baseline-x2+crops",),
        "SKD0+TTA": ("baseline-xM+crops",),
        "alike+TTA": ("baseline-xM+crops",),
        "BCL+TTA": ("baseline-xM+crops",),
        "SKD1+TTA": ("baseline-x2M+crops",),
    }
    # records of older versions have no crops
    stand_ins: ClassVar = {"baseline-xM+crops": "baseline-xM"}

    def values(self, evaluation: Tested, row: str) -> dict[str, Value]:
        """Accuracy over images; the others as one number."""
        metrics, samples = evaluation.metrics[row], evaluation.samples
        labels = samples["labels"]
        hits = samples[f"predictions/{row}"] == labels
        values = {"accuracy": Value(metrics["accuracy"], hits, strata_of(labels))}
        for group, accuracy in metrics["group_accuracy"].items():
            if accuracy is not None:
                values[f"{_GROUP}{group}"] = Value(accuracy)
        values["macro F1"] = Value(metrics["macro_f1"])
        values["G-mean"] = Value(metrics["g_mean"])
        # Computed here, so that a table of records and of their export is the same.
        if (confidence := samples.get(f"confidence/{row}")) is not None:
            error = expected_calibration_error(recorded(confidence), hits)
            values["ECE"] = Value(error, higher_is_better=False)
        if (nll := samples.get(f"nll/{row}")) is not None:
            mean = float(recorded(nll).mean(dtype=np.float64))
            values["NLL"] = Value(mean, percent=False, higher_is_better=False)
        return values

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

    def samples_of_tables(self, evaluation: Tested) -> dict[str, np.ndarray]:
        """Labels and predictions; confidence and -log p of the rows of contrasts only."""
        kept = {"labels"}
        for row in evaluation.rows:
            kinds = ("predictions", "confidence", "nll") if row in self.contrasted else ("predictions",)
            kept |= {f"{kind}/{row}" for kind in kinds}
        return {name: array for name, array in evaluation.samples.items() if name in kept}

    def about(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Passes per test image."""
        return {"query_passes": metrics["query_passes"]}

    def untested(self, training: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
        """Names of classes that have no recall."""
        recalls = zip(training["class_names"], metrics["recalls"], strict=True)
        return [name for name, recall in recalls if recall is None]

    def test_size(self, evaluation: Tested) -> tuple[int, int, str]:
        """More test images first, then the smaller test seed; other images count as another size."""
        assert isinstance(evaluation.config, ClassifierEvaluation)
        size = evaluation.config.images_per_class or 2**62
        return size, -evaluation.config.test_seed, evaluation.data_hash

    def same_test(self, test: EvalConfig) -> tuple[Any, ...]:
        """The views of +TTA, and the head."""
        return test.transform, _stage_two(test)

    def order(self, test: EvalConfig) -> int:
        """Heads of stage two come after the model's own."""
        name = _stage_two(test)
        return 0 if name is None else 1 + list(STAGE_TWO).index(name)

    def references(self, row: str, run: RunConfig) -> tuple[str, ...]:
        """A head of stage two is compared with the same head on the reference's backbone."""
        plain, comma, head = row.partition(", ")
        return tuple(f"{name}{comma}{head}" for name in super().references(plain, run))


class ImbalancedReading(ClassifierReading):
    """Accuracy per balanced test image; recall of class groups, F1, G-mean and calibration per seed."""

    primaries = (
        PrimaryContrast({"ratio": 100}, "ce", "SLA+SD", "baseline-xM"),
        PrimaryContrast({"imbalance": "exp", "ratio": 100}, "ce", "SLA+AG", "ens-M", "cifar100"),
    )
    axis = SettingAxis("Imbalance ratio", "ratio", "gains_by_ratio")
    length = "epochs"
    # The code behind the published tables keeps the best epoch on the test images.
    published_selection = "best-test"
    validates = False
    pictures = ("class_sizes", "class_accuracies", "confusions")

    def notes(self, rows: Sequence[Row]) -> list[str]:
        """Selection on the test images flatters."""
        found = super().notes(rows)
        if all(row["selection"] != "best-test" for row in rows):
            return found
        sentence = (
            "Selection best-test: the weights were chosen on the test images, as some published code does; "
            "these accuracies are too high."
        )
        return [*found, sentence]


class StandardReading(ClassifierReading):
    """As every classifier's; class groups only where the data set has classes of different size."""

    primaries = (PrimaryContrast({"mix": "none"}, "ce", "SLA+AG", "ens-M"),)
    axis = None
    length = "steps"
    published_selection = "validation"
    validates = True
    pictures = ("confusions",)

    def values(self, evaluation: Tested, row: str) -> dict[str, Value]:
        """Those of every classifier, without a group that holds all classes."""
        values = super().values(evaluation, row)
        groups = [name for name in values if name.startswith(_GROUP)]
        return {n: f for n, f in values.items() if len(groups) > 1 or n not in groups}


def _stage_two(test: EvalConfig) -> str | None:
    return test.stage_two if isinstance(test, ImbalancedEvaluation) else None


def _row_key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("dataset", "setting", "learner", "budget", "method"))


IMBALANCED = ImbalancedReading()
STANDARD = StandardReading()
