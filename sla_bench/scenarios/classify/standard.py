"""Fully supervised learning: train on all images of all classes."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from sla_bench.config import StandardRun
from sla_bench.data.base import LabeledImages
from sla_bench.data.named import dataset_named
from sla_bench.data.splits import Subset, check_range, read_hashed, split_images
from sla_bench.errors import UserError
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.scenarios.classify.run import ClassifierScenario, Split, TrainingImages
from sla_bench.training.long_tail import head_and_tail_groups


def _choose(config: StandardRun, data_root: Path) -> TrainingImages:
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
    choose=_choose,
    split=lambda config, chosen: split(config, chosen.images),
    criterion=lambda config: functools.partial(CrossEntropy, smoothing=config.label_smoothing),
    steps=lambda config, images: config.steps,
    accuracy=lambda hits, labels: float(hits.mean()),
)
