"""What an objective for episodes is, and the ways of reading a head that several of them share.

Shapes: E episodes, S supports, Q queries, M views, D features, W ways.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.label_augmentation import joint_labels, split_joint
from sla_bench.transforms import Transform

Head = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""`(support (E,S,D), support_labels (E,S), query (E,Q,D), ways) -> logits (E,Q,ways)`."""

ViewHead = Callable[[Tensor], Tensor]
"""A trained classifier of the view, `(..., D) -> (..., M)`."""


@dataclass(frozen=True)
class EpisodeFeatures:
    """Embeddings of a batch of episodes.

    Args:
        support: (E, S, M, D); view 0 is the image as it is.
        support_labels: int64 (E, S), 0..W-1.
        query: (E, Q, M, D).
        query_labels: int64 (E, Q).
        ways: W.
    """

    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor
    ways: int

    def split(self) -> list[EpisodeFeatures]:
        """Each episode as a batch of its own."""
        tensors = (self.support, self.support_labels, self.query, self.query_labels)
        parts = zip(*(tensor.split(1) for tensor in tensors), strict=True)
        return [EpisodeFeatures(s, s_labels, q, q_labels, self.ways) for s, s_labels, q, q_labels in parts]


@dataclass(frozen=True)
class Passes:
    """Forward passes per image that a read-off needs at test."""

    support: int
    query: int


class EpisodeObjective(ABC):
    """How the features of episodes become a loss, and how predictions are read off at test.

    An objective knows neither the head (any `Head`) nor the data. Where training differs from the
    baseline's by more than the loss, the attributes say how; the training loop reads them.

    Args:
        transform: the label augmentation with its M views.

    Attributes:
        step_factor: the number of steps, and every schedule, is multiplied by it.
        copies: times that each image enters a batch, each with its own crop and flip; they take the place of
            views.
        members: models trained from disjoint seeds, whose logits are averaged at test.
        trains_on_views: training embeds all M views of each image, else the image as it is.
        rows: read-off -> its cost, in the order of the table; the first is the objective's own.
    """

    step_factor: int = 1
    copies: int = 1
    members: int = 1
    trains_on_views: bool = False
    rows: Mapping[str, Passes]

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    @property
    def num_views(self) -> int:
        """M."""
        return self.transform.num_views

    @property
    def selection_row(self) -> str:
        """The read-off by which validation chooses the checkpoint: single inference, one pass per query."""
        return next(row for row, passes in self.rows.items() if passes.query == self.members)

    def view_head(self, num_features: int) -> nn.Module | None:
        """A trained classifier of the view, (..., D) -> (..., M), for objectives with that second task."""
        del num_features
        return None

    @abstractmethod
    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: ViewHead | None
    ) -> tuple[Tensor, Tensor]:
        """Return the training loss (scalar) and the training accuracy (scalar in 0..1)."""

    @abstractmethod
    def read(self, features: EpisodeFeatures, head: Head) -> dict[str, Tensor]:
        """Return read-off -> logits (E, Q, W), one entry for each of `rows`; all M views are given."""


class SingleObjective(EpisodeObjective):
    """An objective whose test is an ordinary episode; +TTA averages it over the views.

    Subclasses set `row`, the name in the tables.
    """

    row: str

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform)
        self.rows = {
            self.row: Passes(self.members, self.members),
            f"{self.row}+TTA": Passes(self.members * self.num_views, self.members * self.num_views),
        }

    def read(self, features: EpisodeFeatures, head: Head) -> dict[str, Tensor]:
        """Logits of the upright images, and the mean over views of one head per view."""
        logits = per_view_logits(features, head)
        return {self.row: logits[:, :, 0], f"{self.row}+TTA": logits.mean(2)}


class CropReader:
    """Reads single inference on M crops of each image in place of its views: one head per crop, averaged.

    Args:
        objective: whose single read-off it is.
    """

    def __init__(self, objective: EpisodeObjective) -> None:
        self.row = f"{objective.selection_row}+crops"
        passes = objective.members * objective.num_views
        self.passes = Passes(passes, passes)

    def read(self, features: EpisodeFeatures, head: Head) -> dict[str, Tensor]:
        """Mean logits over the crops."""
        return {self.row: per_view_logits(features, head).mean(2)}


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of rows of logits (..., n) whose largest entry is the label (...), detached."""
    return (logits.detach().argmax(-1) == labels).float().mean()


def per_view_logits(features: EpisodeFeatures, head: Head) -> Tensor:
    """Fit the head on support view j, query it with view j: logits (E, Q, M, W)."""
    views = features.support.shape[2]
    return torch.stack(
        [
            head(features.support[:, :, j], features.support_labels, features.query[:, :, j], features.ways)
            for j in range(views)
        ],
        dim=2,
    )


def pooled_logits(features: EpisodeFeatures, head: Head) -> Tensor:
    """Fit the head on all views of the supports under their W labels: logits (E, Q, M, W) of all views."""
    episodes, _, views, _ = features.support.shape
    labels = features.support_labels[..., None].expand(-1, -1, views)
    logits = head(
        features.support.flatten(1, 2), labels.flatten(1), features.query.flatten(1, 2), features.ways
    )
    return logits.view(episodes, -1, views, features.ways)


def joint_logits(features: EpisodeFeatures, head: Head) -> Tensor:
    """Fit the head on W*M joint classes: logits (E, Q, M, W, M), [query, view, class, transformation]."""
    episodes, _, views, _ = features.support.shape
    labels = joint_labels(features.support_labels.flatten(), views).view(episodes, -1)
    logits = head(features.support.flatten(1, 2), labels, features.query.flatten(1, 2), features.ways * views)
    return split_joint(logits.view(episodes, -1, views, features.ways * views), views)


def view_loss(features: EpisodeFeatures, view_head: ViewHead) -> Tensor:
    """Cross entropy (scalar) of telling the view, mean over all views of supports and queries."""
    every = torch.cat([features.support, features.query], dim=1)
    return view_cross_entropy(view_head(every.float()))


def view_cross_entropy(logits: Tensor) -> Tensor:
    """Mean cross entropy of telling the view; logits (..., M, M), those of view j in row j."""
    labels = torch.arange(logits.shape[-1], device=logits.device).expand(logits.shape[:-1])
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten())
