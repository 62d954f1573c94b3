"""Objectives on fixed classes: scores come from layers on the features."""

# Shapes: B images, V images of each in a batch (views or copies), M views, N classes, D features.

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.models.backbones.base import Backbone
from sla_bench.models.backbones.branches import Branches
from sla_bench.models.losses.base import Criterion
from sla_bench.models.losses.criteria import CosineHead
from sla_bench.objectives.objective import OVER_CLASSES, Kind, Layer, Objective, Read
from sla_bench.objectives.scores import Scores, ViewsRead, WithViews, split_joint
from sla_bench.views.transfer import to_device
from sla_bench.views.transforms import Transform

Reduction = Literal["mean", "sum"]
"""Of a joint loss over the views of an image; "sum" is M times "mean"."""

_NAMES: dict[Layer, str] = {
    "joint": "joint_head",
    "class": "head",
    "teacher": "teacher_head",
    "view": "view_head",
    "projection": "projection_head",
    "prototype": "prototype_head",
}
"""Layer -> its name in files of weights, in the order of these files and of the states of optimisers."""

_PROJECTION = 64
"""Length of a projection, as in Rizve et al. 2021."""

_BALANCED = 512, 128
"""Hidden units and length of a projection beside prototypes, as CUDA_LTR@2d62a49 has them for CIFAR."""


@dataclass(frozen=True)
class Classes:
    """The classes of an objective.

    Args:
        counts: int64 (N,), training images of each class.
        make_criterion: builds the loss for classes of the given counts.
        joint_reduction: of a joint loss over the views of an image; "sum" is M times "mean".
    """

    counts: Tensor
    make_criterion: Callable[[Tensor], Criterion]
    joint_reduction: Reduction = "mean"

    def criteria(self, num_views: int) -> dict[Layer, Criterion]:
        """The losses over the N classes and the N*M joint classes: each image gives one of every view."""
        joint = self.counts.repeat_interleave(num_views)
        return {"class": self.make_criterion(self.counts), "joint": self.make_criterion(joint)}


class ClassScores(Scores):
    """Scores of images by layers on their features.

    Args:
        layers: (..., D) -> (..., n) of each layer.
        criteria: the losses over classes and joint classes.
        features: (B, V, D).
        labels: int64 (B,); None where the scores are only read.
        num_views: M.
        joint_reduction: of the cross entropy of joint scores over the views of an image.
        numbers: as `Scores`.
    """

    def __init__(
        self,
        layers: Mapping[Layer, Callable[[Tensor], Tensor]],
        criteria: Mapping[Layer, Criterion],
        features: Tensor,
        labels: Tensor | None,
        num_views: int,
        joint_reduction: Reduction = "mean",
        numbers: Tensor | None = None,
    ) -> None:
        super().__init__(labels, num_views, numbers)
        self.layers, self.criteria, self.features = layers, criteria, features
        self.joint_weight = features.shape[1] if joint_reduction == "sum" else 1

    def _compute(self, of: Layer, views: ViewsRead) -> Tensor:
        # All views are not sliced: gradients would be summed in another order.
        seen = {"upright": slice(1), "others": slice(1, None)}.get(views)
        return self.layers[of](self.features if seen is None else self.features[:, seen])

    def _scored(self, of: Layer, logits: Tensor) -> Tensor:
        return self._criterion(of).scores(logits) if of in OVER_CLASSES else logits

    def _cross_entropy(self, of: Kind, logits: Tensor, labels: Tensor) -> Tensor:
        rows, targets = logits.flatten(0, -2), labels.flatten()
        if of == "view":
            return F.cross_entropy(rows, targets)
        loss: Tensor = self._criterion(of)(rows, targets)
        return self.joint_weight * loss if of in ("joint", "own") else loss

    def _criterion(self, of: Kind) -> Criterion:
        return self.criteria["joint" if of == "joint" else "class"]


class OnClasses(nn.Module, WithViews):
    """The layers of an objective on a backbone's features, the loss of a batch, and its rows.

    Args:
        method: the objective.
        num_features: D.
        classes: the classes and their criterion; a class's count is that of each of its joint labels.
        transform: makes the M views of an image.
    """

    def __init__(self, method: Objective, num_features: int, classes: Classes, transform: Transform) -> None:
        super().__init__()
        self.method, self.transform, self.classes = method, transform, classes
        criteria = classes.criteria(self.num_views)
        self.criterion, self.joint_criterion = criteria["class"], criteria["joint"]
        projector = _balanced_projector if "prototype" in method.layers else _projector
        makers: dict[Layer, Callable[[], nn.Module]] = {
            "class": lambda: self.criterion.head(num_features),
            "joint": lambda: self.joint_criterion.head(num_features),
            "teacher": lambda: self.criterion.head(num_features),
            "view": lambda: nn.Linear(
                self.criterion.num_classes if method.view_from_scores else num_features, self.num_targets
            ),
            "projection": lambda: projector(num_features),
            "prototype": lambda: projector(num_features),
        }
        # Drawn in this order, so that the class layer of all methods starts alike.
        drawn = {layer: make() for layer, make in makers.items() if layer in method.layers}
        for layer, name in _NAMES.items():
            if layer in drawn:
                self.add_module(name, drawn[layer])
        self.branches: Branches | None = None

    def branch_off(self, backbone: Backbone) -> None:
        """Add branches of a backbone, and a head over the joint labels for each of its stages."""
        self.branches = Branches(backbone)
        heads = (self.joint_criterion.head(backbone.num_features) for _ in range(self.branches.count))
        self.stage_heads = nn.ModuleList(heads)

    @property
    def rows(self) -> Mapping[str, int]:
        """Row -> forward passes per test image, in the order of the table; the first is its own."""
        return {row: self._passes(read) for row, read in self._reads.items() if self._is_shown(read)}

    @property
    def further_rows(self) -> Mapping[str, int]:
        """The same for rows that are recorded and not shown."""
        return {row: self._passes(read) for row, read in self._reads.items() if not self._is_shown(read)}

    @property
    def single_row(self) -> str:
        """The row of single inference, one pass per member; validation always reads this row."""
        return next(row for row, read in self._reads.items() if not read.mean)

    def class_norms(self) -> Tensor:
        """Length of each class's weights in the layer of single inference, (N,); 1 in a layer of cosines."""
        of = self.method.reads[self.single_row].of
        layer = getattr(self, _NAMES["joint" if of == "own" else of])
        if not isinstance(layer, nn.Linear):
            return torch.ones(self.criterion.num_classes)
        norms: Tensor = layer.weight.detach().norm(dim=1)
        return norms[:: self.num_views] if of == "own" else norms

    @property
    def crops_row(self) -> str | None:
        """Single inference averaged over M crops and flips; None where the layer knows the views instead."""
        return None if self.method.knows_views else f"{self.single_row}+crops"

    @property
    def modes(self) -> Mapping[str, str]:
        """Short name of each inference -> its row; the first is the objective's default."""
        return {read.mode: row for row, read in self._reads.items()}

    def reweight(self, progress: float) -> None:
        """Set the progress of every criterion, step / steps in [0, 1)."""
        for criterion in (self.criterion, self.joint_criterion):
            criterion.reweight(progress)

    def drawn(self, images: int, generator: Generator) -> Tensor | None:
        """Draw the number of each image of a batch, int64 (B, V); None where training draws nothing."""
        draws = self.method.draws
        return None if draws is None else draws.of_images(images, self.num_views, generator)

    def loss(
        self,
        features: Tensor,
        labels: Tensor,
        numbers: Tensor | None = None,
        before: Tensor | None = None,
        partners: tuple[Tensor, float] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the training loss (scalar) and the training accuracy (scalar in 0..1).

        Args:
            features: (B, V, D), or (B, V, L*D) as from `Branches`.
            labels: int64 (B,).
            numbers: int64 (B, V), as from `drawn`.
            before: scores (B, N) of the images as they are, by a network that was trained before.
            partners: positions int64 (B,) in the batch of the images that are mixed into the first of each,
                and the share of the latter in 0..1.
        """
        count = 1 if self.branches is None else self.branches.count
        parts = features.chunk(count, dim=-1)
        scores = self._scores(parts[0], labels, numbers)
        scores.before = before
        scores.partners = None if partners is None else (labels[partners[0]], partners[1])
        if self.branches is not None:
            # Those of the last stage are the backbone's own.
            ends = zip(self.stage_heads, (*parts[1:], parts[0]), strict=True)
            scores.stages = [self._scored_by({"joint": head}, part, labels, numbers) for head, part in ends]
        loss = self.method.loss(scores)
        assert scores.accuracy is not None
        return loss, scores.accuracy

    def read(self, features: Tensor) -> dict[str, Tensor]:
        """Return row -> scores (B, N) for each of `rows` and `further_rows`.

        Args:
            features: (B, M, D), of all views, view 0 the image as it is. From view 0 alone, (B, 1, D), the
                rows that cost one pass per member are the same, and the others mean nothing.
        """
        scores = self._scores(features)
        return {row: scores.read(read.of, read.mean) for row, read in self._reads.items()}

    def by_view(self, features: Tensor) -> dict[str, Tensor]:
        """Return head -> its scores of every view, from which `read` makes its predictions.

        (B, M, N) of a head over the classes, (B, M, N, M) of a joint one: [image, view, class,
        transformation].

        Args:
            features: as `read`.
        """
        scores = self._scores(features)
        found = {name: scores.scores(layer) for name, layer in self.method.heads.items()}
        joint = {name for name, layer in self.method.heads.items() if layer == "joint"}
        return {n: split_joint(s, self.num_views) if n in joint else s for n, s in found.items()}

    def recognised_view(self, features: Tensor) -> Tensor | None:
        """Scores (B, M, M) of a layer that tells the view, from (B, M, D); None where there is none."""
        return self._scores(features).scores("view") if self.method.tells_views else None

    @property
    def _reads(self) -> dict[str, Read]:
        """The rows whose scores have a layer."""
        there = {"own" if layer == "joint" else layer for layer in self.method.layers}
        return {row: read for row, read in self.method.reads.items() if read.of in there}

    def _is_shown(self, read: Read) -> bool:
        return read.shown and (self.method.knows_views or not read.mean)

    def _passes(self, read: Read) -> int:
        return self.members * (self.num_views if read.mean else 1)

    def _scores(
        self, features: Tensor, labels: Tensor | None = None, numbers: Tensor | None = None
    ) -> ClassScores:
        layers: dict[Layer, Callable[[Tensor], Tensor]]
        layers = {layer: getattr(self, _NAMES[layer]) for layer in self.method.layers}
        if self.method.view_from_scores:
            head, view_head = layers["class"], layers["view"]
            layers["view"] = lambda z: view_head(self.criterion.scores(head(z)))
        if "prototype" in layers:
            project = layers["prototype"]
            layers["prototype"] = lambda _: project(self._class_weights())
        return self._scored_by(layers, features, labels, numbers)

    def _class_weights(self) -> Tensor:
        """Weights (N, D) of the class layer.

        Raises:
            UserError: the layer has no weight for each class and feature.
        """
        if isinstance(self.head, nn.Linear):
            return self.head.weight
        if isinstance(self.head, CosineHead):
            return self.head.weight.mT
        raise UserError(
            f"{self.method.name} needs a weight for each class and feature, which a "
            f"{type(self.head).__name__} does not have; take another loss"
        )

    def _scored_by(
        self,
        layers: Mapping[Layer, Callable[[Tensor], Tensor]],
        features: Tensor,
        labels: Tensor | None,
        numbers: Tensor | None,
    ) -> ClassScores:
        reduction = self.classes.joint_reduction
        criteria: dict[Layer, Criterion] = {"class": self.criterion, "joint": self.joint_criterion}
        if numbers is not None:
            numbers = to_device(numbers, features.device)
        return ClassScores(layers, criteria, features, labels, self.num_views, reduction, numbers)


class _RowNorm(nn.BatchNorm1d):
    """Batch normalisation of (..., D) over all but the last dimension."""

    def forward(self, rows: Tensor) -> Tensor:
        return super().forward(rows.flatten(0, -2)).view_as(rows)


def _balanced_projector(num_features: int) -> nn.Module:
    """Two layers, (..., D) -> (..., 128)."""
    hidden, length = _BALANCED
    return nn.Sequential(
        nn.Linear(num_features, hidden), _RowNorm(hidden), nn.ReLU(), nn.Linear(hidden, length)
    )


def _projector(num_features: int) -> nn.Module:
    """Three layers, (..., D) -> (..., 64)."""
    wide = [layer for _ in range(2) for layer in (nn.Linear(num_features, num_features), nn.ReLU())]
    return nn.Sequential(*wide, nn.Linear(num_features, _PROJECTION))
