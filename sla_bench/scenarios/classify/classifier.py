"""A classifier of fixed classes: a backbone with an objective's heads."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sla_bench.config import Acceleration, ClassifierRun, Precision
from sla_bench.data.base import Dataset
from sla_bench.data.splits import Subset
from sla_bench.errors import UserError
from sla_bench.evaluation.embedding import embed
from sla_bench.models.backbones.base import Backbone
from sla_bench.models.backbones.map_mixing import MapMixing
from sla_bench.objectives.classes import Classes, OnClasses
from sla_bench.objectives.objective import Objective
from sla_bench.registry import METHODS, TRANSFORMS
from sla_bench.scenarios.base import (
    Augmenter,
    Member,
    batch_in_words,
    build_backbone,
    start_backbone,
)
from sla_bench.scenarios.form import Plan, plan_of
from sla_bench.seeds import derive_seed, torch_seeded
from sla_bench.training.acceleration import accelerated
from sla_bench.training.class_sampling import ClassSampler
from sla_bench.training.loop import (
    Checkpoints,
    GeneratorSource,
    Progress,
    TrainingResult,
    autocast,
    silent,
    train,
)
from sla_bench.training.stages import two_stages
from sla_bench.views.augment import ImageBatches
from sla_bench.views.mixing import Mix, unmixed
from sla_bench.views.transfer import to_device

_CHUNK = 2048
"""Validation images whose embeddings are held at a time."""


class ClassifierModel(nn.Module):
    """A backbone and the heads of an objective."""

    def __init__(self, backbone: Backbone, objective: OnClasses) -> None:
        super().__init__()
        self.backbone, self.objective = backbone, objective


def build_classifier(
    config: ClassifierRun,
    dataset: Dataset,
    classes: Classes,
    transform: str,
    seed: int,
    features: Path | None = None,
) -> ClassifierModel:
    """Build a model; the weights of its backbone, and of its head over the classes, depend on `seed` alone.

    Args:
        config: names backbone and method, and the batch, by which schedules of the backbone go.
        dataset: gives the size of the images.
        classes: the classes and their criterion.
        transform: makes the M views of an image.
        seed: of the initial weights and of dropout.
        features: as `build_backbone`.

    Raises:
        UserError: an option of the backbone, the method or the loss has a wrong value.
    """
    with torch_seeded(derive_seed(seed, "initial weights")):
        backbone = build_backbone(config, dataset.properties, features)
        method = dataclasses.replace(METHODS.load(config.method), **config.method_options)
        objective = OnClasses(method, backbone.num_features, classes, TRANSFORMS.load(transform))
        if method.branches:
            objective.branch_off(backbone)
    backbone.stretch(_plan(config, objective).stretch)
    backbone.seed_dropout(derive_seed(seed, "dropout"))
    return ClassifierModel(backbone, objective)


def _plan(config: ClassifierRun, objective: OnClasses, steps: int | None = None) -> Plan:
    """See `plan_of`; steps as of a baseline at the recipe's batch."""
    unit = objective.images_per_image
    return plan_of(config.batch_images, unit, config.batch_size, steps, objective.step_factor)


def train_classifier(
    config: ClassifierRun,
    model: ClassifierModel,
    data: Subset,
    batches: ImageBatches,
    steps: int,
    seed: int,
    sampler_kind: str = "uniform",
    mix: Mix | None = None,
    validate: Callable[[ClassifierModel], float] | None = None,
    choose_best: bool = True,
    progress: Progress = silent,
    checkpoints: Checkpoints | None = None,
    acceleration: Acceleration = "eager",
) -> Member:
    """Train one model.

    Args:
        config: optimiser, schedule, batch size, precision.
        model: it is left in the last step's state.
        data: the images that are trained on.
        batches: of `data.images`.
        steps: of a baseline at the recipe's batch; an objective may multiply them, and another batch has as
            many images in all.
        seed: of the order of the images and of their augmentation.
        sampler_kind: how images are drawn, as `ClassSampler`.
        mix: what is done to a batch on top of crop and flip, before its views are made.
        validate: accuracy in 0..1 of the model; None: nothing is validated.
        choose_best: as `train`.
        progress: told each step.
        checkpoints: read at the start and written on the way.
        acceleration: how the backbone is run.

    Raises:
        DivergedError: loss, gradient, weights or scores are not finite.
        UserError: the training is too short for so large a batch, or can't be accelerated so.
    """
    start_backbone(model.backbone, batches, data.index)
    model.to(memory_format=torch.channels_last)
    stage = _Stage(config, data, batches, steps, sampler_kind, mix, acceleration, progress)
    before, passed, teacher = None, 0, None
    method = model.objective.method
    if method.pretext is not None:
        first, checkpoints = two_stages(checkpoints)
        trained, before, passed = stage.pretrain(model, method.pretext, seed, first)
        if method.keeps != "scores":
            _start_from(model, trained, heads=method.keeps == "both")
            # Schedules inside the backbone begin again.
            model.backbone.advance(-before.best_step)
        if method.keeps != "backbone":
            teacher = trained.eval().requires_grad_(False)
    result, images = stage.train(model, seed, checkpoints, validate, choose_best, before, teacher=teacher)
    parameters = sum(p.numel() for p in model.parameters())
    return Member(result, passed + images, parameters, model.objective.members)


@dataclass(frozen=True)
class _Stage:
    """What the stages of a training have in common; see `train_classifier`."""

    config: ClassifierRun
    data: Subset
    batches: ImageBatches
    steps: int
    sampler_kind: str
    mix: Mix | None
    acceleration: Acceleration
    progress: Progress

    def train(
        self,
        model: ClassifierModel,
        seed: int,
        checkpoints: Checkpoints | None,
        validate: Callable[[ClassifierModel], float] | None = None,
        choose_best: bool = False,
        before: TrainingResult | None = None,
        phase: str = "training",
        teacher: ClassifierModel | None = None,
    ) -> tuple[TrainingResult, int]:
        """Train a model by its objective, and the scores of a teacher where it has one.

        Returns:
            The result, and the images through the network, forward and backward.

        Raises:
            UserError: stages of a backbone can't be accelerated.
        """
        config, data, objective, device = self.config, self.data, model.objective, self.batches.device
        plan = _plan(config, objective, self.steps)
        order = derive_seed(seed, "training images")
        sampler = ClassSampler(data.labels, self.sampler_kind, plan.units, seed=order)
        augmented = Augmenter(config, self.batches, seed)
        positions, labels = torch.from_numpy(data.index), torch.from_numpy(data.labels)
        latest = positions[:0]
        known = _frozen_features(config, model, self.batches, positions, self.progress)

        def batch_loss(done: Fraction) -> tuple[Tensor, Tensor]:
            nonlocal latest
            objective.reweight(float(done))
            chosen = sampler.next()
            latest = positions[chosen]
            if known is not None:
                return objective.loss(known[to_device(chosen, device)], to_device(labels[chosen], device))
            index = latest.repeat_interleave(objective.copies)
            images, own = augmented(index), to_device(labels[chosen], device)
            mixed = unmixed(images, own) if self.mix is None else self.mix(images, own, augmented.generator)
            numbers = objective.drawn(len(mixed.images), augmented.generator)
            shown = objective.shown(mixed.images, numbers, augmented.generator)
            if mixing is not None:
                mixing.draw(len(chosen), augmented.generator)
            with autocast(config.precision, device):
                features = network(shown.contiguous(memory_format=torch.channels_last))
            features = features.float().view(len(chosen), objective.images_per_image, -1)
            partners = None if mixing is None else (to_device(mixing.partners, device), mixing.share)
            taught = None if teacher is None else _single_scores(teacher, mixed.images, config.precision)
            return mixed.loss(lambda of: objective.loss(features, of, numbers, taught, partners))

        model.train()

        def any_batch() -> Tensor:
            image = self.batches.plain(positions[:1])
            images = image.expand(plan.units * objective.images_per_image, -1, -1, -1)
            return images.contiguous(memory_format=torch.channels_last)

        network = accelerated(model.backbone, self.acceleration, config.precision, any_batch)
        if objective.method.needs_stages and self.acceleration != "eager":
            raise UserError(
                f"--compile, --capture: method {config.method!r} looks into the backbone; leave them out"
            )
        if objective.branches is not None:
            network = functools.partial(objective.branches, model.backbone)
        mixing = None
        if objective.method.mixes_maps:
            network = mixing = MapMixing(model.backbone, objective.images_per_image)
        result = train(
            model,
            batch_loss,
            None if validate is None else functools.partial(validate, model),
            config,
            steps=plan.updates,
            choose_best=choose_best,
            after_step=model.backbone.advance,
            progress=self.progress,
            checkpoints=checkpoints,
            sources={
                "sampler": sampler,
                **augmented.sources,
                "dropout": GeneratorSource(model.backbone.generator),
            },
            batch=lambda: functools.partial(batch_in_words, seed, latest),
            before=before,
            phase=phase,
        )
        return result, plan.updates * plan.units * objective.images_per_image if known is None else 0

    def pretrain(
        self, model: ClassifierModel, pretext: Objective, seed: int, checkpoints: Checkpoints | None
    ) -> tuple[ClassifierModel, TrainingResult, int]:
        """Train the backbone of a model, which is not changed, and other heads by another objective.

        Returns:
            The trained network, and what `train` returns.
        """
        own = derive_seed(seed, "pretraining")
        target = model.objective
        with torch_seeded(derive_seed(own, "initial weights")):
            heads = OnClasses(pretext, model.backbone.num_features, target.classes, target.transform)
        learner = ClassifierModel(copy.deepcopy(model.backbone), heads.to(self.batches.device))
        learner.backbone.seed_dropout(derive_seed(own, "dropout"))
        result, images = self.train(learner, own, checkpoints, phase="pretraining")
        learner.load_state_dict(result.state)
        return learner, result, images


def _start_from(model: ClassifierModel, trained: ClassifierModel, heads: bool) -> None:
    """Take over the backbone of a trained network, and the heads that both have."""
    model.backbone.load_state_dict(trained.backbone.state_dict())
    if heads:
        model.objective.load_state_dict(
            {n: v for n, v in trained.objective.state_dict().items() if n in model.objective.state_dict()}
        )


@torch.no_grad()
def _single_scores(model: ClassifierModel, images: Tensor, precision: Precision) -> Tensor:
    """Scores (B, N) of single inference, of images (B, C, H, W)."""
    with autocast(precision, images.device):
        features = model.backbone(images.contiguous(memory_format=torch.channels_last))
    return model.objective.read(features.float()[:, None])[model.objective.single_row]


def _frozen_features(
    config: ClassifierRun, model: ClassifierModel, batches: ImageBatches, index: Tensor, progress: Progress
) -> Tensor | None:
    """Features (n, V, D) of the images of a training of heads alone; None where the network is trained."""
    if config.train != "head":
        return None
    views = model.objective.transform if model.objective.method.trains_on_views else None
    return embed(
        model.backbone,
        batches,
        index,
        views,
        precision=config.precision,
        device=batches.device,
        progress=lambda done, total: progress("embedding", done, total),
    )


def single_hits(
    model: ClassifierModel, batches: ImageBatches, data: Subset, precision: Precision
) -> np.ndarray:
    """Whether single inference is right: each image read once and as it is, whatever the objective.

    Args:
        model: is not changed.
        batches: of all images.
        data: those to read, n of them.
        precision: of the backbone.

    Returns:
        bool (n,).
    """
    hits = []
    for positions in np.split(data.index, range(_CHUNK, len(data.index), _CHUNK)):
        index = torch.from_numpy(positions)
        features = embed(model.backbone, batches, index, precision=precision, device=batches.device)
        with torch.no_grad():
            scores = model.objective.read(features)[model.objective.single_row]
        hits.append(scores.argmax(1).cpu().numpy() == data.images.labels[positions])
    return np.concatenate(hits)
