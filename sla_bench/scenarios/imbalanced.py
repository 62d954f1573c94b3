"""Imbalanced learning: train on a long-tailed part of the training images, test on balanced classes."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sla_bench.augment import ImageBatches
from sla_bench.backbones.base import Backbone
from sla_bench.class_sampling import ClassSampler
from sla_bench.classification_metrics import classification_metrics, predictions_of
from sla_bench.config import ImbalancedEvaluation, ImbalancedRun
from sla_bench.datasets.base import Dataset, LabeledImages
from sla_bench.datasets.named import dataset_named
from sla_bench.embedding import embed
from sla_bench.errors import UserError
from sla_bench.long_tail import GROUP_NAMES, class_order, head_and_tail_groups, long_tailed_indices
from sla_bench.losses.base import Criterion
from sla_bench.objectives.classifier_base import Classes, ClassifierObjective
from sla_bench.registry import BACKBONES, LOSSES, METHODS, TRANSFORMS
from sla_bench.scenarios.base import (
    ANY_TRANSFORM,
    Evaluation,
    Member,
    RunCheckpoints,
    Training,
    first_images,
    member_states,
    train_members,
)
from sla_bench.seeds import derive_seed, torch_seeded
from sla_bench.training import (
    Checkpoints,
    GeneratorSource,
    Progress,
    TrainingResult,
    autocast,
    silent,
    train,
)

_CHUNK = 2048
"""Test images whose embeddings are held at a time."""


@dataclass(frozen=True)
class LongTail:
    """The part of the training images that is trained on.

    Args:
        images: all of them.
        index: int64 (n,), those of the part.
        groups: int64 (N,), index into GROUP_NAMES of each class.
    """

    images: LabeledImages
    index: np.ndarray
    groups: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """int64 (n,)."""
        return self.images.labels[self.index]

    @property
    def counts(self) -> np.ndarray:
        """int64 (N,), images of each class."""
        return np.bincount(self.labels, minlength=self.images.num_classes)

    @property
    def checksum(self) -> str:
        """First 16 hex digits of the SHA-256 of the chosen positions."""
        return hashlib.sha256(np.ascontiguousarray(self.index, dtype="<i8").tobytes()).hexdigest()[:16]


def long_tail(config: ImbalancedRun, data_root: Path) -> LongTail:
    """Read the training images and choose the long-tailed part.

    Raises:
        UserError: files are missing or damaged, or the data can't serve the ratio or the class size.
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
    index = long_tailed_indices(
        images.labels,
        config.imbalance,
        config.ratio,
        config.subset_seed,
        max_class_size=config.max_class_size,
        class_order=order,
    )
    counts = np.bincount(images.labels[index], minlength=images.num_classes)
    groups = head_and_tail_groups(counts, dataset.group_thresholds, config.imbalance)
    return LongTail(images, index, groups)


class ClassifierModel(nn.Module):
    """A backbone and the heads of an objective."""

    def __init__(self, backbone: Backbone, objective: ClassifierObjective) -> None:
        super().__init__()
        self.backbone, self.objective = backbone, objective


def build_model(
    config: ImbalancedRun, dataset: Dataset, counts: np.ndarray, transform: str, seed: int
) -> ClassifierModel:
    """Build a model; the weights of its backbone, and of its head over the classes, depend on `seed` alone.

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
    with torch_seeded(derive_seed(seed, "initial weights")):
        backbone: Backbone = BACKBONES.load(config.backbone)(
            dataset.properties.size, **config.backbone_options
        )
        objective: ClassifierObjective = METHODS.load(config.method, "classifier")(
            backbone.num_features, classes, TRANSFORMS.load(transform), **config.method_options
        )
    backbone.seed_dropout(derive_seed(seed, "dropout"))
    return ClassifierModel(backbone, objective)


class Predictions(NamedTuple):
    """Of each of T test images: predicted class, its probability, -log of the true class's; each (T,)."""

    classes: np.ndarray
    confidence: np.ndarray
    nll: np.ndarray


class TestImages:
    """The balanced test images; reads models on them.

    Args:
        config: names the data set.
        class_names: of the training images; those of the test images must be the same.
        per_class: only the first so many images of each class; None means all.
        data_root: where the data lie.
        device: where to compute.

    Raises:
        UserError: files are missing or damaged, or test and training classes differ.
    """

    def __init__(
        self,
        config: ImbalancedRun,
        class_names: tuple[str, ...],
        per_class: int | None,
        data_root: Path,
        device: torch.device,
    ) -> None:
        dataset = dataset_named(config.dataset)
        images = dataset.load("test", "images", data_root)
        if images.class_names != class_names:
            absent = sorted(set(class_names) ^ set(images.class_names))
            raise UserError(
                f"{config.dataset}: training and test images must have the same classes, "
                f"only one of them has {', '.join(absent[:3]) or 'this order'}"
            )
        self.index = torch.from_numpy(first_images(images.labels, per_class))
        self.labels = images.labels[self.index.numpy()]
        self.batches = ImageBatches(images, dataset.properties, device=device)
        self.precision = config.precision
        self.device = device

    def read(self, models: list[ClassifierModel], progress: Progress = silent) -> dict[str, Predictions]:
        """Read-off -> what it says of each image; scores are averaged over the models."""
        parts: dict[str, list[tuple[np.ndarray, ...]]] = {}
        done = 0
        for index in self.index.split(_CHUNK):
            read = [self._scores(model, index) for model in models]
            labels = self.labels[done : done + len(index)]
            done += len(index)
            for row in read[0]:
                scores = torch.stack([r[row] for r in read]).mean(0)
                parts.setdefault(row, []).append(predictions_of(scores.double().cpu().numpy(), labels))
            progress("testing", done, len(self.index))
        return {
            row: Predictions(*map(np.concatenate, zip(*chunks, strict=True))) for row, chunks in parts.items()
        }

    def _scores(self, model: ClassifierModel, index: Tensor) -> dict[str, Tensor]:
        features = embed(
            model.backbone,
            self.batches,
            index,
            model.objective.transform,
            precision=self.precision,
            device=self.device,
        )
        with torch.no_grad():
            return model.objective.read(features)


def run(
    config: ImbalancedRun,
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
    checkpoints: RunCheckpoints | None = None,
) -> Training:
    """Train the members of a run and return their weights at the last epoch.

    Args:
        config: the training.
        data_root: where the data lie.
        device: where to compute.
        progress: told each step.
        checkpoints: where the training goes on from and what it leaves.

    Raises:
        UserError: the data can't serve the setting, an option is wrong, or the loss is not finite.
    """
    dataset, data = dataset_named(config.dataset), long_tail(config, data_root)
    batches = ImageBatches(data.images, dataset.properties, device=device)
    test = None
    if config.selection == "best-test":
        test = TestImages(config, data.images.class_names, None, data_root, device)
    steps = config.epochs * math.ceil(len(data.index) / config.batch_size)

    def train_one(seed: int, own: Checkpoints | None) -> Member:
        model = build_model(config, dataset, data.counts, config.transform or ANY_TRANSFORM, seed).to(device)
        objective = model.objective
        result = _train_member(config, model, data, batches, test, steps, seed, progress, own)
        images = steps * objective.step_factor * config.batch_size * objective.images_per_image
        return Member(result, images, sum(p.numel() for p in model.parameters()), objective.members)

    training = train_members(config.seed, train_one, checkpoints)
    training.summary |= {
        "class_names": list(data.images.class_names),
        "class_counts": data.counts.tolist(),
        "groups": data.groups.tolist(),
        "subset_hash": data.checksum,
    }
    return training


def _train_member(
    config: ImbalancedRun,
    model: ClassifierModel,
    data: LongTail,
    batches: ImageBatches,
    test: TestImages | None,
    steps: int,
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | None,
) -> TrainingResult:
    objective, device = model.objective, batches.device
    sampler = ClassSampler(
        data.labels, config.sampler, config.batch_size, seed=derive_seed(seed, "training images")
    )
    generator = torch.Generator().manual_seed(derive_seed(seed, "augmentation"))
    positions, labels = torch.from_numpy(data.index), torch.from_numpy(data.labels)

    def batch_loss(done: Fraction) -> tuple[Tensor, Tensor]:
        objective.reweight(float(done))
        chosen = sampler.next()
        index = positions[chosen].repeat_interleave(objective.copies)
        images = batches.augmented(index, generator)
        if objective.trains_on_views:
            images = objective.transform.views(images).flatten(0, 1)
        with autocast(config.precision, device):
            features = model.backbone(images.contiguous(memory_format=torch.channels_last))
        features = features.float().view(len(chosen), objective.images_per_image, -1)
        return objective.loss(features, labels[chosen].to(device))

    def test_accuracy() -> float:
        assert test is not None
        predictions = test.read([model])[next(iter(objective.rows))].classes
        return float((predictions == test.labels).mean())

    model.to(memory_format=torch.channels_last)
    return train(
        model,
        batch_loss,
        test_accuracy if test is not None else None,
        config,
        steps=steps * objective.step_factor,
        after_step=model.backbone.advance,
        progress=progress,
        checkpoints=checkpoints,
        sources={
            "sampler": sampler,
            "augmentation": GeneratorSource(generator),
            "dropout": GeneratorSource(model.backbone.generator),
        },
    )


def evaluate(
    config: ImbalancedRun,
    evaluation: ImbalancedEvaluation,
    state: dict[str, Tensor],
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
) -> Evaluation:
    """Read a trained model on the balanced test images.

    Samples: `labels` (T,), and for each read-off `predictions/<row>`, `confidence/<row>`, `nll/<row>` (T,).

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
    test = TestImages(config, data.images.class_names, evaluation.images_per_class, data_root, device)
    models = []
    for member in member_states(state):
        model = build_model(config, dataset, data.counts, evaluation.transform, config.seed).to(device)
        model.load_state_dict(member)
        models.append(model.eval())
    objective = models[0].objective
    samples = {"labels": test.labels.astype(np.int32)}
    metrics = {}
    read = test.read(models, progress)
    for row, passes in {**objective.rows, **objective.further_rows}.items():
        predictions, confidence, nll = read[row]
        samples[f"predictions/{row}"] = predictions.astype(np.int32)
        samples[f"confidence/{row}"] = confidence.astype(np.float32)
        samples[f"nll/{row}"] = nll.astype(np.float32)
        metrics[row] = {
            **classification_metrics(
                predictions, confidence, nll, test.labels, data.groups, list(GROUP_NAMES)
            ),
            "query_passes": passes,
            "shown": row in objective.rows,
        }
    return Evaluation(metrics, samples)
