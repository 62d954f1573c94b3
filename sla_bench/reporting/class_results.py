"""What the pictures of classes are drawn from: training sets and recalls, in order of class size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sla_bench.errors import UserError
from sla_bench.reporting.row_names import augments_labels


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
        others = [
            result
            for result in results
            if result.training == base.training and augments_labels(result.method)
        ]
        for other in others:
            if not np.array_equal(other.classes.counts, base.classes.counts):
                raise UserError(
                    f"{other.method} and {reference} of {base.training} come from different training sets; "
                    "compare the seeds that both have"
                )
        if others:
            pairs.append((base, others))
    return pairs
