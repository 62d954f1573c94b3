"""Results by class: training sets, recalls and confusions, by class size."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sla_bench.evaluation.class_metrics import confusion_rates
from sla_bench.records.store import RunRecord
from sla_bench.tables.cells import Found, Setting, method_rank, settings_of, told_batch
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
    """

    names: Sequence[str]
    counts: np.ndarray
    groups: np.ndarray
    group_names: Sequence[str]

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


def beside_baseline(results: Sequence[ClassResult]) -> list[tuple[ClassResult, list[ClassResult]]]:
    """Each baseline with the rows of label augmentation from the same data, setting, loss and seeds.

    Args:
        results: in any order, which is kept; other methods are left out.

    Returns:
        Pairs of a baseline and at least one other.
    """
    pairs = [
        (base, [result for result in results if result.training == base.training and result.is_sla])
        for base in results
        if base.method == BASELINE
    ]
    return [(base, others) for base, others in pairs if others]


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
        parts = _by_shared_seeds(methods)
        for shared, names in parts.items():
            classes = _training_classes([methods[BASELINE][seed][0].record for seed in shared])
            for method in (BASELINE, *names):
                chosen = [methods[method][seed] for seed in shared]
                # None is a class without a test image.
                recalls = np.array(
                    [one.evaluation.metrics[row]["recalls"] for one, row in chosen], np.float64
                )
                tested = np.flatnonzero(~np.isnan(recalls).any(axis=0))
                few = len(tested) <= MOST_CLASSES
                confusions = np.array([_confusion(*each) for each in chosen]) if few else None
                result = ClassResult(
                    dataset=str(key["dataset"]),
                    setting=f"{key['setting']}{further}",
                    learner=str(key["learner"]),
                    method=method,
                    classes=classes.chosen(tested),
                    recalls=recalls[:, tested],
                    confusions=None if confusions is None else confusions[:, tested][:, :, tested],
                    seeds=_words(shared) if len(parts) > 1 else "",
                    is_sla=method != BASELINE,
                    all_classes=classes,
                )
                results.append(result)
    return results


def _methods(setting: Setting) -> dict[str, dict[int, tuple[Found, str]]]:
    """Baseline and label augmentation: seed -> evaluation and recorded row."""
    methods: dict[str, dict[int, tuple[Found, str]]] = {}
    # Run ids are hashes: their order says nothing.
    for one in sorted(setting.found, key=lambda one: method_rank(one.record.config.method)):
        asked = one.evaluation.asked
        if one.reading.order(one.evaluation.config):
            # The pictures are of the models' own heads.
            continue
        for row in one.evaluation.rows:
            method = at_batch(row, told_batch(one.record))
            if method == BASELINE or (asked.is_sla and row not in asked.averages_views):
                methods.setdefault(method, {})[one.record.config.seed] = one, row
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


def _confusion(one: Found, row: str) -> np.ndarray:
    samples, classes = one.evaluation.samples, len(one.record.done["class_names"])
    return confusion_rates(samples[f"predictions/{row}"], samples["labels"], classes)


def _training_classes(records: list[RunRecord]) -> TrainingClasses:
    return TrainingClasses(
        records[0].done["class_names"],
        np.array([r.done["class_counts"] for r in records]),
        np.array([r.done["groups"] for r in records]),
        GROUP_NAMES,
    )
