"""The scenarios with fixed classes: imbalanced learning, fully supervised learning."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sla_bench.config import ImbalancedRun, StandardRun
from sla_bench.data.base import LabeledImages
from sla_bench.data.named import dataset_named
from sla_bench.data.splits import Subset, check_range, read_hashed, split_images
from sla_bench.errors import UserError
from sla_bench.models.losses.criteria import CrossEntropy
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


def _split_long_tail(config: ImbalancedRun, chosen: TrainingImages) -> Split:
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
    validation = _split_long_tail(config, chosen).validation
    if len(validation.index):
        return validation
    return Subset(chosen.images, left_out(chosen.images.labels, chosen.index, config.subset_seed))


IMBALANCED = ClassifierScenario(
    choose=long_tail,
    split=_split_long_tail,
    criterion=lambda config: functools.partial(LOSSES.load(config.loss), **config.loss_options),
    steps=lambda config, images: config.epochs * math.ceil(images / config.batch_size),
    accuracy=_balanced_accuracy,
    sampler=lambda config: config.sampler,
    validates_on_test=lambda config: config.selection == "best-test",
    unseen=_unseen,
)
"""Train on a long-tailed part, test on balanced classes."""


def _all_images(config: StandardRun, data_root: Path) -> TrainingImages:
    """All training images; the sizes of the classes, before any image is held out, make the groups."""
    dataset = dataset_named(config.dataset)
    images = dataset.load("trainval", "images", data_root)
    if images.num_classes < 2:
        raise UserError(
            f"{config.dataset} has one class only, {images.class_names[0]!r}; a classifier needs at least two"
        )
    groups = head_and_tail_groups(images.class_counts, dataset.group_thresholds, "none")
    return TrainingImages(images, np.arange(len(images)), groups)


def split(config: StandardRun, images: LabeledImages) -> Split:
    """Hold out a share of each class of at least two images, or the images that a file names.

    Raises:
        UserError: no class is large enough to hold anything out; the file has no positions, or leaves a class
            without training images.
    """
    if config.val_indices is not None:
        held_out = _named(config.val_indices, images)
    elif config.val_fraction:
        _check_sizes(config, images)
        fractions = (1 - config.val_fraction, config.val_fraction)
        held_out = split_images(images.labels, fractions, config.val_seed, smallest=2)[1]
    else:
        held_out = np.arange(0)
    rest = np.setdiff1d(np.arange(len(images)), held_out, assume_unique=True)
    return Split(Subset(images, rest), Subset(images, held_out))


def _named(name: str, images: LabeledImages) -> np.ndarray:
    index, path = read_hashed(name)
    check_range(index, len(images), path)
    left = images.class_counts - np.bincount(images.labels[index], minlength=images.num_classes)
    if not left.all():
        raise UserError(
            f"--val-indices {path}: it leaves no training image of class "
            f"{images.class_names[int(left.argmin())]!r}"
        )
    return index


def _check_sizes(config: StandardRun, images: LabeledImages) -> None:
    if images.class_counts.max() < 2:
        raise UserError(
            f"--val-fraction {config.val_fraction:g}: each class of {config.dataset} has one training "
            f"image, none can be held out; take --val-fraction 0"
        )


STANDARD = ClassifierScenario(
    choose=_all_images,
    split=lambda config, chosen: split(config, chosen.images),
    criterion=lambda config: functools.partial(CrossEntropy, smoothing=config.label_smoothing),
    steps=lambda config, images: config.steps,
    accuracy=lambda hits, labels: float(hits.mean()),
)
"""Train on all images of all classes but those held out."""
