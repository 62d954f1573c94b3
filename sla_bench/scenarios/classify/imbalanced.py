"""Imbalanced learning: train on a long-tailed part, test on balanced classes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sla_bench.config import ImbalancedRun
from sla_bench.data.named import dataset_named
from sla_bench.data.splits import Subset
from sla_bench.registry import LOSSES
from sla_bench.scenarios.classify.run import ClassifierScenario, Split, TrainingImages
from sla_bench.training.long_tail import (
    class_order,
    head_and_tail_groups,
    left_out,
    long_tailed_indices,
    with_held_out,
)


@dataclass(frozen=True)
class LongTail(TrainingImages):
    """The part of the training images that is trained on.

    Args:
        held_out: images that are validated on; none unless the weights are chosen so.
    """

    held_out: Subset


def long_tail(config: ImbalancedRun, data_root: Path) -> LongTail:
    """Read the training images and choose the long-tailed part.

    Raises:
        UserError: files are missing or damaged, or the data can't serve the ratio, the class size or the
            validation.
    """
    dataset = dataset_named(config.dataset)
    images = dataset.load("trainval", "images", data_root)
    order = None
    if config.class_order != "identity":
        order = class_order(
            config.class_order,
            images.num_classes,
            order_seed=config.order_seed,
            run_seed=config.seed,
            positions=config.order_shifts,
        )
    choose = functools.partial(
        long_tailed_indices,
        images.labels,
        config.imbalance,
        config.ratio,
        config.subset_seed,
        class_order=order,
        class_names=images.class_names,
    )
    if config.selection == "validation":
        index, held_out = with_held_out(images.labels, choose, config.max_class_size, config.subset_seed)
    else:
        index, held_out = choose(max_class_size=config.max_class_size), np.arange(0)
    counts = np.bincount(images.labels[index], minlength=images.num_classes)
    groups = head_and_tail_groups(counts, dataset.group_thresholds, config.imbalance)
    return LongTail(images, index, groups, Subset(images, held_out))


def _split(config: ImbalancedRun, chosen: TrainingImages) -> Split:
    """The long tail was chosen from the images that are not held out."""
    del config
    assert isinstance(chosen, LongTail)
    return Split(chosen, chosen.held_out)


def _balanced_accuracy(hits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the recalls of the classes that have images held out."""
    counts = np.bincount(labels)
    return float((np.bincount(labels, hits)[counts > 0] / counts[counts > 0]).mean())


def _unseen(config: ImbalancedRun, chosen: TrainingImages) -> Subset:
    """The images that are validated on; where none are, images outside the long tail."""
    validation = _split(config, chosen).validation
    if len(validation.index):
        return validation
    return Subset(chosen.images, left_out(chosen.images.labels, chosen.index, config.subset_seed))


IMBALANCED = ClassifierScenario(
    choose=long_tail,
    split=_split,
    criterion=lambda config: functools.partial(LOSSES.load(config.loss), **config.loss_options),
    steps=lambda config, images: config.epochs * math.ceil(images / config.batch_size),
    accuracy=_balanced_accuracy,
    sampler=lambda config: config.sampler,
    validates_on_test=lambda config: config.selection == "best-test",
    unseen=_unseen,
)
