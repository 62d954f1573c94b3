"""What every scenario gives back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sla_bench.config import RunConfig
from sla_bench.data.base import ImageProperties
from sla_bench.evaluation.feature_cache import FeatureCache
from sla_bench.models.backbones.base import Backbone
from sla_bench.models.weights import put_weights
from sla_bench.registry import BACKBONES
from sla_bench.seeds import derive_seed
from sla_bench.training.loop import Checkpoints, GeneratorSource, Source, TrainingResult
from sla_bench.views.augment import ImageBatches
from sla_bench.views.crops_and_flips import AlternatingFlips

if TYPE_CHECKING:
    from sla_bench.models.backbones.pretrained import Pretrained

FEATURES = "features"
"""Folder below the data root in which features of frozen networks are kept."""
ANY_TRANSFORM = "rotation"
"""Stands in where a training has no views (config.transform is None) and so does not depend on it."""

_T = TypeVar("_T")
ModelT = TypeVar("ModelT", bound=nn.Module)
_START_IMAGES = 5000
_START_CHUNK = 256


@dataclass
class Training:
    """Result of `run`.

    Args:
        state: state dict of all members, keys `members.<k>.<name>`.
        history: rows of all members, with the column `member`.
        summary: train_images (through the backbone, forward and backward), train_seconds, parameters,
            best_step and val_accuracy of each member, and what a scenario adds.
    """

    state: dict[str, Tensor]
    history: list[dict[str, float]]
    summary: dict[str, Any]


@dataclass
class Evaluation:
    """Result of `evaluate`: metrics per row, and arrays from which each figure can be computed again."""

    metrics: dict[str, dict[str, Any]]
    samples: dict[str, np.ndarray] = field(default_factory=dict)


class Shared:
    """Values that several evaluations of one training need; each is computed once and kept until the last."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], _T]) -> _T:
        """Return the value of a key, computing it where it is not known.

        Args:
            key: names the value, and all that it depends on beside the training.
            compute: called at most once for each key.
        """
        if key not in self._known:
            self._known[key] = compute()
        found: _T = self._known[key]
        return found


@dataclass(frozen=True)
class Member:
    """One trained model of a run.

    Args:
        result: of its training.
        train_images: that passed through the backbone, forward and backward.
        parameters: how many it has.
        members: how many models the run wants.
    """

    result: TrainingResult
    train_images: int
    parameters: int
    members: int


class RunCheckpoints(Protocol):
    """Where the models of a run leave their checkpoints."""

    def member(self, number: int) -> Checkpoints:
        """Those of the model of that number."""


def train_members(
    seed: int,
    train_one: Callable[[int, Checkpoints | None], Member],
    checkpoints: RunCheckpoints | None = None,
) -> Training:
    """Train as many models as the objective wants, each from a seed of its own.

    Args:
        seed: of the run, and of the first member.
        train_one: trains the member of a seed, from its checkpoints on.
        checkpoints: of the run.

    Returns:
        Weights, histories, and a summary to which the scenario may add.
    """

    def member(number: int) -> Member:
        own = derive_seed(seed, "member", number) if number else seed
        return train_one(own, None if checkpoints is None else checkpoints.member(number))

    trained = [member(0)]
    trained += [member(k) for k in range(1, trained[0].members)]
    state = {
        f"members.{k}.{name}": value.cpu()
        for k, member in enumerate(trained)
        for name, value in member.result.state.items()
    }
    history = [{"member": k, **row} for k, member in enumerate(trained) for row in member.result.history]
    summary = {
        "train_images": sum(m.train_images for m in trained),
        "train_seconds": sum(m.result.seconds for m in trained),
        "parameters": sum(m.parameters for m in trained),
        "best_step": [m.result.best_step for m in trained],
    }
    return Training(state, history, summary)


def build_backbone(config: RunConfig, properties: ImageProperties, features: Path | None = None) -> Backbone:
    """Build the backbone of a run for images of these properties.

    Args:
        config: names the backbone, its weights and its trained part.
        properties: size and normalisation of the images.
        features: folder in which a frozen network keeps its features; None: nothing is kept.

    Raises:
        UserError: an option of the backbone has a wrong value, the images are too small, or pretrained
            weights are missing or have changed.
    """
    build, library = BACKBONES.load(config.backbone), config.backbone.partition(":")[0]
    if library in BACKBONES.arguments:
        pretrained: Pretrained = build(
            config.backbone, properties, config.weights, config.train, **config.backbone_options
        )
        if pretrained.frozen and features is not None:
            pretrained.kept = FeatureCache(features, pretrained.features_key)
        return pretrained
    own: Backbone = build(properties.size, **config.backbone_options)
    return own


def start_backbone(backbone: Backbone, batches: ImageBatches, index: np.ndarray) -> None:
    """Set what the backbone takes from the training images, evenly spaced ones and the same for all methods.

    Args:
        backbone: whose `start_from` is called.
        batches: of all images.
        index: int64 (n,), positions of the training images.
    """
    places = np.unique(
        np.linspace(0, len(index) - 1, min(len(index), _START_IMAGES)).round().astype(np.int64)
    )
    chosen = torch.from_numpy(index[places])
    backbone.start_from(batches.plain(part) for part in chosen.split(_START_CHUNK))


class Augmenter:
    """Draws the augmentation of a training's batches.

    Args:
        config: says how flips are drawn.
        batches: of all images.
        seed: of the member that is trained.

    Attributes:
        generator: of all that is random, but for flips that alternate.
        sources: all that is drawn from, for checkpoints.
    """

    def __init__(self, config: RunConfig, batches: ImageBatches, seed: int) -> None:
        self._batches = batches
        self.generator = torch.Generator().manual_seed(derive_seed(seed, "augmentation"))
        self.sources: dict[str, Source] = {"augmentation": GeneratorSource(self.generator)}
        self._flips: AlternatingFlips | None = None
        if config.flips == "alternating":
            first = torch.Generator().manual_seed(derive_seed(seed, "flips"))
            self._flips = self.sources["flips"] = AlternatingFlips(len(batches), first)

    def __call__(self, index: Tensor) -> Tensor:
        """Augmented images, as `ImageBatches.augmented`."""
        return self._batches.augmented(index, self.generator, self._flips)


def batch_in_words(seed: int, images: Tensor) -> str:
    """Say which images a batch had, for whoever wants to look at them.

    Args:
        seed: of the model that was trained on it.
        images: int64, positions in the training split, any shape.
    """
    return f"seed {seed}, images of the training split: {', '.join(map(str, images.flatten().tolist()))}"


def member_states(state: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The state dict of each member, from `Training.state`."""
    members: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        _, number, name = key.split(".", 2)
        members.setdefault(int(number), {})[name] = value
    return [members[number] for number in sorted(members)]


def load_members(
    state: Mapping[str, Tensor], build: Callable[[], ModelT], device: str | torch.device
) -> list[ModelT]:
    """Return the models of a run with their trained weights, in eval mode.

    Args:
        state: as `Training.state`.
        build: makes a model of the run; its weights are replaced.
        device: where they are wanted.

    Raises:
        UserError: the weights are those of another model.
    """
    models = []
    for member in member_states(state):
        model = build().to(device)
        put_weights(model, member)
        models.append(model.eval())
    return models


def first_images(labels: np.ndarray, per_class: int | None) -> np.ndarray:
    """Return the positions of the first `per_class` images of each class, ascending.

    Args:
        labels: int64 (N,), class of each image.
        per_class: None means all.

    Returns:
        int64 (n,).
    """
    if per_class is None:
        return np.arange(len(labels))
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < per_class])
