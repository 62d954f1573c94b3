"""Fully supervised learning: train on all images of all classes."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sla_bench.config import StandardEvaluation, StandardRun
from sla_bench.data.base import Dataset, LabeledImages
from sla_bench.data.named import dataset_named
from sla_bench.data.splits import Subset, check_range, read_hashed, split_images
from sla_bench.errors import UserError
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.objectives.classes import Classes
from sla_bench.registry import MIXES
from sla_bench.scenarios.base import (
    ANY_TRANSFORM,
    Evaluation,
    Member,
    RunCheckpoints,
    Training,
    train_members,
)
from sla_bench.scenarios.classify.classifier import (
    ClassifierModel,
    build_classifier,
    load_members,
    single_hits,
    train_classifier,
)
from sla_bench.scenarios.classify.image_reader import TestImages, check_same_classes
from sla_bench.training.long_tail import GROUP_NAMES, head_and_tail_groups
from sla_bench.training.loop import Checkpoints, Progress, silent
from sla_bench.views.augment import ImageBatches
from sla_bench.views.mixing import Mix


class Split(NamedTuple):
    """Training images, those that are trained on and those that are validated on, which may be none."""

    train: Subset
    validation: Subset


def load_images(config: StandardRun, data_root: Path) -> LabeledImages:
    """Read all training images.

    Raises:
        UserError: files are missing or damaged, or there is only one class.
    """
    images = dataset_named(config.dataset).load("trainval", "images", data_root)
    if images.num_classes < 2:
        raise UserError(
            f"{config.dataset} has one class only, {images.class_names[0]!r}; a classifier needs at least two"
        )
    return images


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


def build_model(
    config: StandardRun, dataset: Dataset, counts: np.ndarray, transform: str, seed: int
) -> ClassifierModel:
    """Build a model with cross entropy; see `build_classifier`.

    Args:
        config: names backbone and method.
        dataset: gives the size of the images.
        counts: int64 (N,), training images of each class, which change nothing.
        transform: the label augmentation.
        seed: of the initial weights and of dropout.

    Raises:
        UserError: an option of the backbone or the method has a wrong value.
    """
    criterion = functools.partial(CrossEntropy, smoothing=config.label_smoothing)
    classes = Classes(torch.from_numpy(counts), criterion, config.loss_reduction)
    return build_classifier(config, dataset, classes, transform, seed)


def run(
    config: StandardRun,
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
    checkpoints: RunCheckpoints | None = None,
) -> Training:
    """Train the members of a run and return their weights at the best validation, or at the last step.

    Args:
        config: the training.
        data_root: where the data lie.
        device: where to compute.
        progress: told each step.
        checkpoints: read at the start and written on the way.

    Raises:
        UserError: the data can't serve the setting, an option is wrong, or the loss is not finite.
    """
    images = load_images(config, data_root)
    train_part, validation = split(config, images)
    dataset = dataset_named(config.dataset)
    tested_names = dataset.load("test", "images", data_root).class_names
    check_same_classes(config.dataset, images.class_names, tested_names)
    batches = ImageBatches(images, dataset.properties, device=device)
    mix: Mix = MIXES.load(config.mix)(dataset.properties, **config.mix_options)

    def single_accuracy(model: ClassifierModel) -> float:
        return float(single_hits(model, batches, validation, config.precision).mean())

    transform = config.transform or ANY_TRANSFORM

    def train_one(seed: int, own: Checkpoints | None) -> Member:
        model = build_model(config, dataset, train_part.counts, transform, seed).to(device)
        member = train_classifier(
            config,
            model,
            train_part,
            batches,
            config.steps,
            seed,
            mix=mix,
            validate=single_accuracy if len(validation.index) else None,
            choose_best=config.selection == "validation",
            progress=progress,
            checkpoints=own,
        )
        return dataclasses.replace(member, members=member.members * config.ensemble)

    training = train_members(config.seed, train_one, checkpoints)
    training.summary |= {
        "class_names": list(images.class_names),
        "class_counts": train_part.counts.tolist(),
        "groups": _groups(config, images).tolist(),
        "subset_hash": train_part.checksum,
        "validation_images": len(validation.index),
    }
    return training


def evaluate(
    config: StandardRun,
    evaluation: StandardEvaluation,
    state: dict[str, Tensor],
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
) -> Evaluation:
    """Read a trained model on the test images.

    Args:
        config: the training that the weights come from.
        evaluation: the test.
        state: as `Training.state`.
        data_root: where the data lie.
        device: where to compute.
        progress: told each batch.

    Raises:
        UserError: training and test classes differ, or the model's scores are not finite.
    """
    images, dataset = load_images(config, data_root), dataset_named(config.dataset)
    test = TestImages(
        config, images.class_names, evaluation.images_per_class, data_root, device, evaluation.test_seed
    )
    build = functools.partial(
        build_model, config, dataset, images.class_counts, evaluation.transform, config.seed
    )
    models = load_members(state, build, device)
    read = test.evaluate(models, _groups(config, images), list(GROUP_NAMES), progress)
    return read if config.ensemble == 1 else _as_ensemble(read, config.ensemble)


def _groups(config: StandardRun, images: LabeledImages) -> np.ndarray:
    return head_and_tail_groups(images.class_counts, dataset_named(config.dataset).group_thresholds, "none")


def _as_ensemble(read: Evaluation, size: int) -> Evaluation:
    """Say in the names of the rows that they are of so many models, and what these cost at test."""

    def named(name: str) -> str:
        return f"{name} ens-{size}"

    metrics = {
        named(row): {**values, "query_passes": size * values["query_passes"]}
        for row, values in read.metrics.items()
    }
    samples = {named(n) if "/" in n else n: values for n, values in read.samples.items()}
    return Evaluation(metrics, samples)
