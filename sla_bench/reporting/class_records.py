"""From records to what the pictures of classes are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sla_bench.classification_metrics import confusion_rates
from sla_bench.harness.store import EvaluationRecord, RunRecord
from sla_bench.long_tail import GROUP_NAMES
from sla_bench.reporting.cells import Setting, method_rank, settings_of, told_batch
from sla_bench.reporting.class_results import ClassResult, TrainingClasses
from sla_bench.reporting.row_names import BASELINE, at_batch, augments_labels, averages_views

MOST_CLASSES = 200
"""Of more classes no confusion matrix is drawn."""


def class_results(records: Iterable[RunRecord]) -> list[ClassResult]:
    """Baseline and label augmentation of each setting, each method on the seeds that both have.

    Methods that share other seeds with the baseline stand beside a part of it of their own, and its title
    says which seeds. Where the same data, setting and loss were run in several ways (backbone, budget, ...),
    each way is a result of its own and its title says what differs.

    Args:
        records: of one scenario with fixed classes.
    """
    settings = settings_of(records)
    keys = [setting.shared for setting in settings]
    told = ("dataset", "data_state", "setting", "learner")
    varying = [n for n in (keys[0] if keys else ()) if n not in told and len({k[n] for k in keys}) > 1]
    results = []
    for key, setting in zip(keys, settings, strict=True):
        methods = _methods(setting)
        if BASELINE not in methods:
            continue
        further = "".join(f", {key[name]}" for name in varying)
        words = str(key["dataset"]), f"{key['setting']}{further}", str(key["learner"])
        parts = _by_shared_seeds(methods)
        for shared, names in parts.items():
            classes = _training_classes([methods[BASELINE][seed].record for seed in shared])
            told_seeds = _words(shared) if len(parts) > 1 else ""
            for method in (BASELINE, *names):
                chosen = [methods[method][seed] for seed in shared]
                # None is a class without a test image.
                recalls = np.array([seed.recalls for seed in chosen], dtype=np.float64)
                tested = np.flatnonzero(~np.isnan(recalls).any(axis=0))
                few = len(tested) <= MOST_CLASSES
                confusions = np.array([seed.confusion for seed in chosen]) if few else None
                results.append(
                    ClassResult(
                        *words,
                        method,
                        classes.chosen(tested),
                        recalls[:, tested],
                        None if confusions is None else confusions[:, tested][:, :, tested],
                        told_seeds,
                        classes,
                    )
                )
    return results


def _methods(setting: Setting) -> dict[str, dict[int, _Seed]]:
    """Baseline and label augmentation, by seed."""
    methods: dict[str, dict[int, _Seed]] = {}
    # Run ids are hashes: their order says nothing.
    for one in sorted(setting.found, key=lambda one: method_rank(one.record.config.method)):
        for row in one.reading.rows(one.evaluation):
            method = at_batch(row, told_batch(one.record))
            if method == BASELINE or (augments_labels(method) and not averages_views(method)):
                seeds = methods.setdefault(method, {})
                seeds[one.record.config.seed] = _Seed(one.record, one.evaluation, row)
    return methods


def _by_shared_seeds(methods: Mapping[str, Mapping[int, object]]) -> dict[tuple[int, ...], list[str]]:
    """Seeds -> the methods that share just these with the baseline; its own seeds where there are none."""
    parts: dict[tuple[int, ...], list[str]] = {}
    for method, seeds in methods.items():
        shared = tuple(sorted(set(seeds) & set(methods[BASELINE])))
        if method != BASELINE and shared:
            parts.setdefault(shared, []).append(method)
    return parts or {tuple(sorted(methods[BASELINE])): []}


def _words(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


class _Seed:
    """One row of one evaluation."""

    def __init__(self, record: RunRecord, evaluation: EvaluationRecord, method: str) -> None:
        self.record, self.evaluation, self.method = record, evaluation, method

    @property
    def recalls(self) -> list[float | None]:
        recalls: list[float | None] = self.evaluation.metrics[self.method]["recalls"]
        return recalls

    @property
    def confusion(self) -> np.ndarray:
        samples = self.evaluation.samples
        return confusion_rates(
            samples[f"predictions/{self.method}"], samples["labels"], len(self.record.done["class_names"])
        )


def _training_classes(records: list[RunRecord]) -> TrainingClasses:
    return TrainingClasses(
        records[0].done["class_names"],
        np.array([r.done["class_counts"] for r in records]),
        np.array([r.done["groups"] for r in records]),
        GROUP_NAMES,
    )
