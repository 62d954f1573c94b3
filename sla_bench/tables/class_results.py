"""Results by class: training sets, recalls and confusions, by class size."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sla_bench.errors import UserError
from sla_bench.evaluation.class_metrics import confusion_rates
from sla_bench.records.store import EvaluationRecord, RunRecord
from sla_bench.tables.cells import Setting, method_rank, settings_of, told_batch
from sla_bench.tables.row_key import BASELINE, at_batch
from sla_bench.training.long_tail import GROUP_NAMES

MOST_CLASSES = 200
"""Of more classes no confusion matrix is drawn."""


class Span(NamedTuple):
    """Neighbouring ranks of one group: name, first rank, one past the last rank."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class TrainingClasses:
    """Class sizes of a training set, once per seed: seeds may give head and tail to different classes.

    The rank of a class is its place by size, 0 for the largest; of equal classes the first comes first.

    Args:
        names: (N,) of the classes.
        counts: (S, N) training images, each at least 1.
        groups: (S, N) index of each class's group.
        group_names: for instance many, medium, few.

    Raises:
        UserError: shapes that do not agree, a class without training images, a group without a name.
    """

    names: Sequence[str]
    counts: np.ndarray
    groups: np.ndarray
    group_names: Sequence[str]

    def __post_init__(self) -> None:
        shape = self.counts.shape
        if self.counts.ndim != 2 or not self.counts.size or shape[1] != len(self.names):
            raise UserError(f"counts must be (seeds, {len(self.names)} classes), got {shape}")
        if self.groups.shape != shape:
            raise UserError(f"groups {self.groups.shape} and counts {shape} must have one shape")
        if self.counts.min() < 1:
            raise UserError("every class needs a training image to be shown by its size")
        if self.groups.min() < 0 or self.groups.max() >= len(self.group_names):
            raise UserError(f"groups must lie in 0..{len(self.group_names) - 1}")

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.counts)

    @cached_property
    def order(self) -> np.ndarray:
        """(S, N) the class at each rank."""
        return np.argsort(-self.counts, axis=1, kind="stable")

    def chosen(self, classes: np.ndarray) -> TrainingClasses:
        """The same without the other classes; `classes` (n,) are positions in `names`."""
        names = [self.names[c] for c in classes]
        return TrainingClasses(names, self.counts[:, classes], self.groups[:, classes], self.group_names)

    def by_rank(self, values: np.ndarray) -> np.ndarray:
        """(S, N) by class to (S, N) by rank."""
        return np.take_along_axis(values, self.order, axis=1)

    @cached_property
    def sizes(self) -> np.ndarray:
        """(N,) training images at each rank, falling; the mean where the seeds differ."""
        mean: np.ndarray = self.by_rank(self.counts).mean(axis=0)
        return mean

    @cached_property
    def names_by_rank(self) -> list[str] | None:
        """(N,) names; None where the seeds put different classes at a rank."""
        if (self.order != self.order[0]).any():
            return None
        return [self.names[c] for c in self.order[0]]

    @cached_property
    def spans(self) -> list[Span]:
        """The groups from the largest classes to the smallest, each rank in the group of its median seed."""
        groups = np.median(self.by_rank(self.groups), axis=0).astype(int)
        starts = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
        return [
            Span(self.group_names[groups[start]], start, stop) for start, stop in itertools.pairwise(starts)
        ]


@dataclass(frozen=True)
class ClassResult:
    """How one method, trained once per seed, does on each class.

    Args:
        dataset: as the next three, the words of the leaderboard.
        setting: for instance "exp ratio 100".
        learner: the loss.
        method: for instance SLA+SD.
        classes: the training set of each seed, as far as its classes have test images.
        recalls: (S, N) recall of each class, fractions 0..1.
        confusions: (S, N, N) [true, predicted], shares of the true class; None where N is too large for them.
        seeds: which they are, in words, where methods of one training are compared on different seeds.
        is_sla: it is label augmentation.
        all_classes: the whole training set of each seed; None: `classes`.

    Raises:
        UserError: shapes that do not agree, or rates outside 0..1.
    """

    dataset: str
    setting: str
    learner: str
    method: str
    classes: TrainingClasses
    recalls: np.ndarray
    confusions: np.ndarray | None = None
    seeds: str = ""
    is_sla: bool = False
    all_classes: TrainingClasses | None = None

    def __post_init__(self) -> None:
        shape = self.classes.counts.shape
        if self.recalls.shape != shape:
            raise UserError(f"recalls {self.recalls.shape} and counts {shape} must have one shape")
        if self.confusions is not None and self.confusions.shape != (*shape, shape[1]):
            raise UserError(f"confusions must be {(*shape, shape[1])}, got {self.confusions.shape}")
        for name, rates in (("recalls", self.recalls), ("confusions", self.confusions)):
            if rates is not None and not ((rates >= 0) & (rates <= 1 + 1e-9)).all():
                raise UserError(f"{name} of {self.method} on {self.dataset} must be fractions 0..1")

    @property
    def training(self) -> str:
        """Data set, setting, loss and, where they differ, seeds in words: what compared methods share."""
        return ", ".join(filter(None, (self.dataset, self.setting, self.learner, self.seeds)))

    @cached_property
    def recalls_by_rank(self) -> np.ndarray:
        """(S, N), largest training class first."""
        return self.classes.by_rank(self.recalls)

    @cached_property
    def confusion_by_rank(self) -> np.ndarray | None:
        """(N, N), mean over seeds, both axes from the largest training class to the smallest."""
        if self.confusions is None:
            return None
        order = self.classes.order
        seeds = np.arange(len(order))[:, None, None]
        mean: np.ndarray = self.confusions[seeds, order[:, :, None], order[:, None, :]].mean(axis=0)
        return mean


def beside_reference(
    results: Sequence[ClassResult], reference: str
) -> list[tuple[ClassResult, list[ClassResult]]]:
    """Each reference with the rows of label augmentation from the same data, setting and loss.

    Args:
        results: in any order, which is kept; other methods are left out.
        reference: method that the others are shown beside.

    Returns:
        Pairs of reference and at least one other.

    Raises:
        UserError: compared rows whose training sets differ: they are not of the same seeds.
    """
    pairs = []
    for base in (result for result in results if result.method == reference):
        others = [result for result in results if result.training == base.training and result.is_sla]
        for other in others:
            if not np.array_equal(other.classes.counts, base.classes.counts):
                raise UserError(
                    f"{other.method} and {reference} of {base.training} come from different training sets; "
                    "compare the seeds that both have"
                )
        if others:
            pairs.append((base, others))
    return pairs


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
                        method != BASELINE,
                        classes,
                    )
                )
    return results


def _methods(setting: Setting) -> dict[str, dict[int, _Seed]]:
    """Baseline and label augmentation, by seed."""
    methods: dict[str, dict[int, _Seed]] = {}
    # Run ids are hashes: their order says nothing.
    for one in sorted(setting.found, key=lambda one: method_rank(one.record.config.method)):
        asked = one.evaluation.asked
        for row in one.evaluation.rows:
            method = at_batch(row, told_batch(one.record))
            if method == BASELINE or (asked.is_sla and row not in asked.averages_views):
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
