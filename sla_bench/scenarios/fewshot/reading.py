"""How few-shot records are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from sla_bench.config import EvalConfig, FewShotEvaluation, FewShotRun, RunConfig
from sla_bench.data.named import dataset_named
from sla_bench.registry import LEARNERS
from sla_bench.scenarios.reading import (
    AT_EQUAL_COST,
    Contrast,
    PrimaryContrast,
    Reading,
    Row,
    SettingAxis,
    Tested,
    Value,
)

MANY_SPLITS = 10
_NEAREST_MEANS = ("protonet", "simpleshot")
_FROZEN_REFERENCES = {"SLA+AG": ("baseline+TTA", "baseline+flip", "DA+TTA"), "SLA+SI": ("DA",)}
"""Row of a frozen network -> others of as many views of the support, or of fewer."""
_EQUAL_BY_CONSTRUCTION = {("baseline+TTA", learner) for learner in _NEAREST_MEANS}
_USUAL = {"ways": 5, "shots": 5, "queries": 15, "test_dataset": None}


class FewShotReading(Reading):
    """Accuracy per test episode."""

    primaries = (
        PrimaryContrast(
            {"shots": 5, "queries": 15, "test_dataset": None}, "protonet", "SLA+AG", "baseline-NMway+TTA"
        ),
        PrimaryContrast(_USUAL, "simpleshot", "SLA+AG", "baseline-xM+TTA", "cifar_fs"),
        PrimaryContrast(_USUAL, "simpleshot", "SLA+AG", "baseline-xM+crops", "cifar_fs"),
    )
    axis = SettingAxis("Shots at test", "shots", "gains_by_shots")
    length = "steps"
    published_selection = "validation"
    matched_references: ClassVar = {
        "SLA+SI": ("baseline-xM", "baseline-NMway"),
        "SLA+AG": (
            "baseline-xM+TTA",
            "baseline-xM+crops",
            "ens-M",
            "baseline-NMway+TTA",
            "views+TTA",
            "DA+TTA",
        ),
        **AT_EQUAL_COST,
        "rot-x1+TTA": ("baseline+TTA", "baseline+crops"),
        "SLA-x1+AG": ("baseline+TTA", "baseline+crops", "ens-M"),
        "SLA-half+AG": ("baseline-x2+TTA", "baseline-x2+crops", "ens-M"),
        "S2M2+TTA": ("baseline-x2+TTA", "baseline-x2+crops"),
        "SKD0+TTA": ("baseline-xM+TTA", "baseline-xM+crops"),
        "alike+TTA": ("baseline-xM+TTA", "baseline-xM+crops"),
        "BCL+TTA": ("baseline-xM+TTA", "baseline-xM+crops"),
        "SKD1+TTA": ("baseline-x2M+TTA", "baseline-x2M+crops"),
    }
    # nearest class means: means of joint classes are those of an ordinary head on the view
    same_rows: ClassVar = {"SLA+plain": "SLA+SI", "SLA+plain+TTA": "SLA+AG"}
    tests_new_classes = True
    validates = True

    def contrast(self, row: Row, matched: bool) -> Contrast | None:
        """Primary contrasts were named for supports as they are; otherwise as the base class."""
        found = super().contrast(row, matched)
        if found == "primary" and (row.get("support_crops") or 1) > 1:
            return "confirmatory" if matched else None
        return found

    def references(self, row: str, run: RunConfig) -> tuple[str, ...]:
        """Of DA only for the backbone of a classifier: on episodes, `views` asks about the joint label."""
        assert isinstance(run, FewShotRun)
        if run.train == "none":
            found = _FROZEN_REFERENCES.get(row, ())
            return tuple(n for n in found if (n, run.learner) not in _EQUAL_BY_CONSTRUCTION)
        on_episodes = LEARNERS[run.learner].trains_on == "episodes"
        return tuple(n for n in super().references(row, run) if n != "DA+TTA" or not on_episodes)

    def values(self, evaluation: Tested, row: str) -> dict[str, Value]:
        """Accuracy, a mean over episodes, from the samples; the one in metrics.json is not read."""
        test = evaluation.config
        assert isinstance(test, FewShotEvaluation)
        hits = evaluation.samples[f"hits/{row}"][: test.episodes].astype(np.float64)
        # A product with ones is several times as fast as a sum over so short an axis.
        accuracy = hits @ np.ones(hits.shape[1]) / (hits.shape[1] * test.queries)
        classes = evaluation.samples.get("classes")
        classes = None if classes is None else classes[: test.episodes]
        return {"accuracy": Value(float(accuracy.sum()) / len(accuracy), accuracy, classes=classes)}

    def samples_of_tables(self, evaluation: Tested) -> dict[str, np.ndarray]:
        """Classes and hits of the episodes that the accuracy is a mean over; hits of the open tasks."""
        test, samples = evaluation.config, evaluation.samples
        assert isinstance(test, FewShotEvaluation)
        # The episodes beyond them serve the jackknife of the accuracy only.
        closed = {n: a[: test.episodes] for n, a in samples.items() if n.startswith(("classes", "hits/"))}
        return closed | {n: a for n, a in samples.items() if n.startswith("open_hits/")}

    def about(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Intervals that speak of other images and classes, and passes per image."""
        return {
            "ci95_open": _percent(metrics["ci95_open"]),
            "jackknife_se": _percent(metrics["jackknife_se"]),
            "support_passes": metrics["support_passes"],
            "query_passes": metrics["query_passes"],
        }

    def test_size(self, evaluation: Tested) -> tuple[int, int]:
        """More episodes first, then the smaller test seed."""
        assert isinstance(evaluation.config, FewShotEvaluation)
        return evaluation.config.episodes, -evaluation.config.test_seed

    def same_test(self, test: EvalConfig) -> tuple[Any, ...]:
        """All but episodes and test seed."""
        assert isinstance(test, FewShotEvaluation)
        return (
            test.ways,
            test.shots,
            test.queries,
            test.support_crops,
            test.transform,
            test.images_per_class,
            test.test_dataset,
        )

    def notes(self, rows: Sequence[Row]) -> list[str]:
        """Few random splits of classes are no result; which controls see more distinct images."""
        few = dict.fromkeys(row["dataset"] for row in rows if row["seeds"] < MANY_SPLITS)
        more = (
            "baseline-NMway and rotpool-NMway draw M times as many distinct images as SLA, which sees each "
            "image in M views (column images drawn)."
        )
        equal = (
            "Frozen, nearest means: SLA+SI is the baseline and SLA+AG is baseline+TTA by construction; "
            "finetune, cosine, ridge and SVM can show what joint labels do."
        )
        nearest = any(row.get("train") == "none" and row["learner"] in _NEAREST_MEANS for row in rows)
        return (
            [more] * any(row["more_images"] for row in rows)
            + [equal] * nearest
            + [
                f"{name} has no fixed classes for training and test: the seed splits them. Fewer than "
                f"{MANY_SPLITS} splits are a demonstration, not a result."
                for name in few
                if dataset_named(name).split_depends_on_seed
            ]
        )


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


READING = FewShotReading()
