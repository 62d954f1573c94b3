"""Imbalanced learning: train on a long-tailed part, test on balanced classes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sla_bench.config import ImbalancedEvaluation, ImbalancedRun
from sla_bench.data.base import Dataset
from sla_bench.data.named import dataset_named
from sla_bench.data.splits import Subset
from sla_bench.models.losses.base import Criterion
from sla_bench.objectives.classes import Classes
from sla_bench.registry import LOSSES
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
from sla_bench.scenarios.classify.image_reader import TestImages
from sla_bench.training.long_tail import (
    GROUP_NAMES,
    class_order,
    head_and_tail_groups,
    long_tailed_indices,
    with_held_out,
)
from sla_bench.training.loop import Checkpoints, Progress, silent
from sla_bench.views.augment import ImageBatches


@dataclass(frozen=True)
class LongTail(Subset):
    """The part of the training images that is trained on.

    Args:
        groups: int64 (N,), index into GROUP_NAMES of each class.
        held_out: images that are validated on; none unless the weights are chosen so.
    """

    groups: np.ndarray
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


def build_model(
    config: ImbalancedRun, dataset: Dataset, counts: np.ndarray, transform: str, seed: int
) -> ClassifierModel:
    """Build a model whose loss knows the size of each class; see `build_classifier`.

    Args:
        config: names backbone, method and loss.
        dataset: gives the size of the images.
        counts: int64 (N,), training images of each class.
        transform: the label augmentation.
        seed: of the initial weights and of dropout.

    Raises:
        UserError: an option of the backbone, the method or the loss has a wrong value.
    """

    def criterion(class_counts: Tensor) -> Criterion:
        loss: Criterion = LOSSES.load(config.loss)(class_counts, **config.loss_options)
        return loss

    classes = Classes(torch.from_numpy(counts), criterion, config.loss_reduction)
    return build_classifier(config, dataset, classes, transform, seed)


def run(
    config: ImbalancedRun,
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
    checkpoints: RunCheckpoints | None = None,
) -> Training:
    """Train the members of a run and return their weights at the last epoch, or at the best validation.

    Args:
        config: the training.
        data_root: where the data lie.
        device: where to compute.
        progress: told each step.
        checkpoints: read at the start and written on the way.

    Raises:
        UserError: the data can't serve the setting, an option is wrong, or the loss is not finite.
    """
    dataset, data = dataset_named(config.dataset), long_tail(config, data_root)
    batches = ImageBatches(data.images, dataset.properties, device=device)
    test = None
    if config.selection == "best-test":
        test = TestImages(config, data.images.class_names, None, data_root, device)
    steps = config.epochs * math.ceil(len(data.index) / config.batch_size)

    def test_accuracy(model: ClassifierModel) -> float:
        assert test is not None
        predictions = test.read([model])[next(iter(model.objective.rows))].classes
        return float((predictions == test.labels).mean())

    def balanced_accuracy(model: ClassifierModel) -> float:
        """Mean of the recalls of the classes that have images held out."""
        hits = single_hits(model, batches, data.held_out, config.precision)
        labels = data.held_out.labels
        counts = np.bincount(labels)
        return float((np.bincount(labels, hits)[counts > 0] / counts[counts > 0]).mean())

    validations = {"best-test": test_accuracy, "validation": balanced_accuracy}

    def train_one(seed: int, own: Checkpoints | None) -> Member:
        model = build_model(config, dataset, data.counts, config.transform or ANY_TRANSFORM, seed).to(device)
        return train_classifier(
            config,
            model,
            data,
            batches,
            steps,
            seed,
            config.sampler,
            validate=validations.get(config.selection),
            progress=progress,
            checkpoints=own,
        )

    training = train_members(config.seed, train_one, checkpoints)
    training.summary |= {
        "class_names": list(data.images.class_names),
        "class_counts": data.counts.tolist(),
        "groups": data.groups.tolist(),
        "subset_hash": data.checksum,
    }
    return training


def evaluate(
    config: ImbalancedRun,
    evaluation: ImbalancedEvaluation,
    state: dict[str, Tensor],
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
) -> Evaluation:
    """Read a trained model on the balanced test images.

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
    dataset, data = dataset_named(config.dataset), long_tail(config, data_root)
    test = TestImages(
        config, data.images.class_names, evaluation.images_per_class, data_root, device, evaluation.test_seed
    )
    build = functools.partial(build_model, config, dataset, data.counts, evaluation.transform, config.seed)
    models = load_members(state, build, device)
    return test.evaluate(models, data.groups, list(GROUP_NAMES), progress)
