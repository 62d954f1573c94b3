"""How few-shot records are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from sla_bench.config import EvalConfig, FewShotEvaluation, FewShotRun, RunConfig
from sla_bench.data.named import dataset_named
from sla_bench.records.store import EvaluationRecord
from sla_bench.registry import LEARNERS
from sla_bench.scenarios.fewshot.episode_sizes import validation_ways
from sla_bench.scenarios.fewshot.form import usual_train_ways
from sla_bench.tables.reading import Figure, PrimaryContrast, Reading, Row, SettingAxis
from sla_bench.tables.row_names import draws_more_classes

MANY_SPLITS = 10


class FewShotReading(Reading):
    """Accuracy per test episode."""

    primaries = (
        PrimaryContrast(" 5-shot", "protonet", "SLA+AG", "baseline-NMway+TTA"),
        PrimaryContrast("5-way 5-shot", "simpleshot", "SLA+AG", "baseline-xM+TTA", "cifar_fs"),
        PrimaryContrast("5-way 5-shot", "simpleshot", "SLA+AG", "baseline-xM+crops", "cifar_fs"),
    )
    axis = SettingAxis("Shots at test", r"\b(\d+)-shot", "gains_by_shots")
    length = "steps"
    published_training: ClassVar = {
        "budget": "paper",
        "selection": "validation",
        "transform": "rotation",
        "precision": "fp32",
    }
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
    }
    tests_new_classes = True
    validates = True
    elsewhere = frozenset(
        {"train_ways", "train_shots", "val_shots", "selection", "episodes", "jackknife_episodes"}
    )

    def references(self, row: str, run: RunConfig) -> tuple[str, ...]:
        """Of DA only for the backbone of a classifier: on episodes, `views` asks about the joint label."""
        assert isinstance(run, FewShotRun)
        on_episodes = LEARNERS[run.learner].trains_on == "episodes"
        return tuple(n for n in super().references(row, run) if n != "DA+TTA" or not on_episodes)

    def setting(self, run: RunConfig, test: EvalConfig) -> str:
        """As in "5-way 1-shot", with the queries where they are not the usual 15."""
        del run
        assert isinstance(test, FewShotEvaluation)
        setting = f"{test.ways}-way {test.shots}-shot"
        if test.queries != FewShotEvaluation.model_fields["queries"].default:
            setting += f" {test.queries}-query"
        return setting

    def learner(self, run: RunConfig) -> str:
        """The head."""
        assert isinstance(run, FewShotRun)
        return run.learner

    def train_shots(self, run: RunConfig) -> int | None:
        """Shots in training, where it is on episodes."""
        assert isinstance(run, FewShotRun)
        return run.train_shots if LEARNERS[run.learner].trains_on == "episodes" else None

    def selection(self, run: RunConfig) -> str:
        """Which weights are tested."""
        assert isinstance(run, FewShotRun)
        return run.selection

    def figures(self, evaluation: EvaluationRecord, method: str) -> dict[str, Figure]:
        """Accuracy, a mean over episodes."""
        test = evaluation.config
        assert isinstance(test, FewShotEvaluation)
        hits = evaluation.samples[f"hits/{method}"][: test.episodes].astype(np.float64)
        # A product with ones is several times as fast as a sum over so short an axis.
        accuracy = hits @ np.ones(hits.shape[1]) / (hits.shape[1] * test.queries)
        classes = evaluation.samples.get("classes")
        classes = None if classes is None else classes[: test.episodes]
        return {"accuracy": Figure(float(accuracy.sum()) / len(accuracy), accuracy, classes=classes)}

    def samples_of_tables(self, evaluation: EvaluationRecord) -> dict[str, np.ndarray]:
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

    def test_size(self, evaluation: EvaluationRecord) -> tuple[int, int]:
        """More episodes first, then the smaller test seed."""
        assert isinstance(evaluation.config, FewShotEvaluation)
        return evaluation.config.episodes, -evaluation.config.test_seed

    def same_test(self, test: EvalConfig) -> tuple[Any, ...]:
        """All but episodes and test seed."""
        assert isinstance(test, FewShotEvaluation)
        return test.ways, test.shots, test.queries, test.transform, test.images_per_class

    def departures(self, run: RunConfig, test: EvalConfig, recipe: Mapping[str, Any]) -> list[str]:
        """Training ways and validation shots that do not follow the test."""
        assert isinstance(run, FewShotRun)
        assert isinstance(test, FewShotEvaluation)
        usual_ways = usual_train_ways({**recipe, "batch_size": run.batch_size}, test.ways)
        found = [f"train_ways={run.train_ways}"] if run.train_ways != usual_ways else []
        learner = LEARNERS[run.learner]
        if learner.trains_on == "classes" and run.train_shots != recipe["train_shots"]:
            # The size of a batch follows from it.
            found.append(f"train_shots={run.train_shots}")
        if validation_ways(run) != test.ways:
            found.append(f"val_ways={validation_ways(run)}")
        follows = learner.trains_at_test_shots
        if run.val_shots != (run.train_shots if follows else recipe["val_shots"]):
            found.append(f"val_shots={run.val_shots}")
        return found

    def notes(self, rows: Sequence[Row]) -> list[str]:
        """Few random splits of classes are no result; which controls see more distinct images."""
        few = dict.fromkeys(row["dataset"] for row in rows if row["seeds"] < MANY_SPLITS)
        more = (
            "baseline-NMway and rotpool-NMway draw M times as many distinct images as SLA, which sees each "
            "image in M views (column images drawn)."
        )
        return [more] * any(map(draws_more_classes, rows)) + [
            f"{name} has no fixed classes for training and test: the seed splits them. Fewer than "
            f"{MANY_SPLITS} splits are a demonstration, not a result."
            for name in few
            if dataset_named(name).split_depends_on_seed
        ]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


READING = FewShotReading()
