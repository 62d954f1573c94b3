"""A backbone trained as a classifier of the training split's classes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sla_bench.config import Acceleration, ClassifierRun, FewShotRun, Precision
from sla_bench.data.base import Dataset, LabeledImages
from sla_bench.data.splits import Subset
from sla_bench.evaluation.embedding import Views, embed
from sla_bench.models.backbones.base import Backbone
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.objectives.classes import Classes
from sla_bench.scenarios.base import ANY_TRANSFORM, Member, first_images
from sla_bench.scenarios.classify.classifier import ClassifierModel, build_classifier, train_classifier
from sla_bench.scenarios.fewshot.form import FORM
from sla_bench.training.loop import Checkpoints, Progress
from sla_bench.views.augment import ImageBatches

IMAGES_PER_CLASS = 100
"""Images of each class that the mean embedding is taken over."""

_CHUNK = 512
"""Images whose embeddings are held at a time."""


class BaseClasses:
    """Images of the classes that a backbone was trained on.

    Args:
        images: of the training split.
        batches: of these images.
    """

    def __init__(self, images: LabeledImages, batches: ImageBatches) -> None:
        self.batches = batches
        self.index = torch.from_numpy(first_images(images.labels, IMAGES_PER_CLASS))

    def mean_embeddings(self, backbone: Backbone, transform: Views | None, precision: Precision) -> Tensor:
        """Mean embedding of each view of the transformation, or (None) of the images as they are: (M, D)."""
        device = self.batches.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        for part in self.index.split(_CHUNK):
            embeddings = embed(backbone, self.batches, part, transform, precision=precision, device=device)
            total = total + embeddings.sum(0, dtype=torch.float64)
        return (total / len(self.index)).float()


class FewShotModel(Protocol):
    """A backbone with a head that is fitted on each episode."""

    backbone: Backbone
    head: nn.Module


def train_on_classes(
    config: FewShotRun,
    model: FewShotModel,
    images: LabeledImages,
    dataset: Dataset,
    batches: ImageBatches,
    validate: Callable[[], float],
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | None,
    acceleration: Acceleration,
) -> Member:
    """Train the backbone of a model as a classifier of all training classes, with the config's method.

    A batch that the recipe does not give has as many images as a step of training on episodes.

    Args:
        config: the run.
        model: its backbone is trained, from the weights of the standard scenario on; its head has no part in
            it.
        images: of the training classes.
        dataset: gives the size of the images.
        batches: of `images`.
        validate: accuracy in 0..1 of the model on episodes of the validation classes.
        seed: of the member.
        progress: told each step.
        checkpoints: read at the start and written on the way.
        acceleration: how the backbone is run.

    Returns:
        The trained member; its state is that of backbone and head, without the classifier.

    Raises:
        UserError: an option of the method has a wrong value, or the loss is not finite.
    """
    training = as_classifier_run(config)
    everything = Subset(images, np.arange(len(images)))
    criterion = functools.partial(CrossEntropy, smoothing=config.label_smoothing)
    classes = Classes(torch.from_numpy(everything.counts), criterion, training.loss_reduction)
    built = build_classifier(training, dataset, classes, config.transform or ANY_TRANSFORM, seed)
    classifier = ClassifierModel(model.backbone, built.objective.to(batches.device))
    member = train_classifier(
        training,
        classifier,
        everything,
        batches,
        config.steps,
        seed,
        validate=lambda _: validate(),
        choose_best=config.selection == "validation",
        progress=progress,
        checkpoints=checkpoints,
        acceleration=acceleration,
    )
    state = {name: value for name, value in member.result.state.items() if name.startswith("backbone.")}
    state |= {f"head.{name}": value for name, value in model.head.state_dict().items()}
    return dataclasses.replace(member, result=dataclasses.replace(member.result, state=state))


def as_classifier_run(config: FewShotRun) -> ClassifierRun:
    """The same training with fixed classes: without a batch of its own, one of the images of a step."""
    shared = ClassifierRun.model_fields.keys() & FewShotRun.model_fields.keys()
    values = {name: getattr(config, name) for name in shared}
    return ClassifierRun(**{**values, "batch_size": FORM.units(config)})
