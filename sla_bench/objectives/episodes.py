"""Objectives on episodes: scores come from a head fitted on the supports."""

# Shapes: E episodes, S supports, Q queries, M views, D features, W ways.

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.models.losses.base import smoothed_cross_entropy
from sla_bench.objectives.objective import Kind, Layer, Objective
from sla_bench.objectives.scores import Scores, ViewsRead, WithViews, joint_labels
from sla_bench.views.transforms import Transform

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
        numbers: where training draws V views of each image in place of M: those of the supports, int64
            (E, S, V), and of the queries, (E, Q, V).
    """

    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor
    ways: int
    numbers: tuple[Tensor, Tensor] | None = None

    def split(self) -> list[EpisodeFeatures]:
        """Each episode as a batch of its own."""
        tensors = (self.support, self.support_labels, self.query, self.query_labels)
        parts = zip(*(tensor.split(1) for tensor in (*tensors, *(self.numbers or ()))), strict=True)
        return [
            EpisodeFeatures(
                s, s_labels, q, q_labels, self.ways, (numbers[0], numbers[1]) if numbers else None
            )
            for s, s_labels, q, q_labels, *numbers in parts
        ]


class Passes(NamedTuple):
    """Forward passes per image that a row needs at test."""

    support: int
    query: int


class EpisodeScores(Scores):
    """Scores of the queries, by a head fitted on the supports of each episode.

    Class scores of each view: the head is fitted on support view j and queried with view j. Pooled: fitted on
    all views under the W labels. Joint: fitted on the W*M joint classes, or where views are drawn on those
    that have supports. The view is told by a trained classifier, for supports and queries.

    Args:
        features: the episodes.
        head: fits the supports.
        label_smoothing: of the cross entropies of classes and joint labels.
        view_head: tells the view, where the objective has that task.
        num_views: M; None: as many views as there are of each support.
    """

    def __init__(
        self,
        features: EpisodeFeatures,
        head: Head,
        label_smoothing: float = 0.0,
        view_head: ViewHead | None = None,
        num_views: int | None = None,
    ) -> None:
        numbers = None if features.numbers is None else features.numbers[1]
        super().__init__(features.query_labels, num_views or features.support.shape[2], numbers)
        self.features, self.head = features, head
        self.label_smoothing, self.view_head = label_smoothing, view_head

    def _compute(self, of: Layer, views: ViewsRead) -> Tensor:
        of_episode = self.features
        support, labels, query = of_episode.support, of_episode.support_labels, of_episode.query
        if of == "view":
            assert self.view_head is not None
            return self.view_head(torch.cat([support, query], dim=1).float())
        upright = views == "upright"
        if of == "class" and views != "pooled":
            seen = range(1 if upright else self.num_views)
            fitted = [self.head(support[:, :, j], labels, query[:, :, j], of_episode.ways) for j in seen]
            return torch.stack(fitted, dim=2)
        if of == "joint" and of_episode.numbers is not None:
            labels, _, ways = self._present()
        elif of == "joint":
            ways, labels = of_episode.ways * self.num_views, joint_labels(labels, self.num_views)
        elif of == "class":
            ways, labels = of_episode.ways, labels[..., None].expand(support.shape[:-1])
        else:
            raise ValueError(f"an episode has no {of} scores")
        asked = query[:, :, :1] if upright else query
        logits = self.head(support.flatten(1, 2), labels.flatten(1), asked.flatten(1, 2), ways)
        return logits.view(len(logits), *asked.shape[1:3], ways)

    def _present(self) -> tuple[Tensor, Tensor, int]:
        """Number the joint classes that have supports.

        Returns:
            Those of the supports int64 (E, S, V), of the queries (E, Q, V), and how many there are.
        """
        of_episode = self.features
        assert of_episode.numbers is not None
        support = joint_labels(of_episode.support_labels, self.num_views, of_episode.numbers[0])
        query = joint_labels(of_episode.query_labels, self.num_views, of_episode.numbers[1])
        present = support.new_zeros(len(support), of_episode.ways * self.num_views)
        present.scatter_(1, support.flatten(1), 1)
        number = present.cumsum(1) - 1

        def renumbered(joint: Tensor) -> Tensor:
            return number.gather(1, joint.flatten(1)).view_as(joint)

        return renumbered(support), renumbered(query), int(present[0].sum())

    def _labels(self, of: Kind, logits: Tensor) -> Tensor:
        return (
            self._present()[1] if of == "joint" and self.numbers is not None else super()._labels(of, logits)
        )

    def _shown_views(self, logits: Tensor) -> Tensor:
        if self.features.numbers is not None:
            return torch.cat(self.features.numbers, dim=1)
        return super()._shown_views(logits)

    def _cross_entropy(self, of: Kind, logits: Tensor, labels: Tensor) -> Tensor:
        if of == "view":
            return F.cross_entropy(logits.flatten(0, -2), labels.flatten())
        return smoothed_cross_entropy(logits, labels, self.label_smoothing)


class OnEpisodes(WithViews):
    """An objective on episodes: the loss of a batch, and its rows.

    Args:
        method: the objective.
        transform: makes the M views of an image.

    Attributes:
        rows: row -> its cost, in the order of the table; the first is the objective's own.
    """

    def __init__(self, method: Objective, transform: Transform) -> None:
        self.method, self.transform = method, transform
        every, one = self.members * self.num_views, self.members
        self.rows = {
            row: Passes(every if read.mean or read.of == "own" else one, every if read.mean else one)
            for row, read in method.reads.items()
        }

    def view_head(self, num_features: int) -> nn.Module | None:
        """A classifier of the view, (..., D) -> (..., M), for objectives with that second task."""
        return nn.Linear(num_features, self.num_targets) if "view" in self.method.layers else None

    def drawn(
        self, support_labels: Tensor, query_labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor] | None:
        """Draw the numbers of supports (E, S, V) and queries (E, Q, V); None where training draws nothing."""
        draws = self.method.draws
        if draws is None:
            return None
        return draws.of_episodes(support_labels, query_labels, self.num_views, generator)

    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: ViewHead | None
    ) -> tuple[Tensor, Tensor]:
        """Return the training loss (scalar) and the training accuracy (scalar in 0..1)."""
        scores = EpisodeScores(features, head, label_smoothing, view_head, self.num_views)
        loss = self.method.loss(scores)
        assert scores.accuracy is not None
        return loss, scores.accuracy

    def read(
        self, features: EpisodeFeatures, head: Head, rows: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return row -> logits (E, Q, W) for some of `rows`, None: all; a mean over views takes all M."""
        scores, reads = EpisodeScores(features, head), self.method.reads
        return {row: scores.read(reads[row].of, reads[row].mean) for row in rows or reads}


class CropReader:
    """Reads single inference on M crops of each image in place of its views: one head per crop, averaged.

    Args:
        objective: whose single inference it is.
    """

    def __init__(self, objective: OnEpisodes) -> None:
        self.row = objective.method.crops_row
        passes = objective.members * objective.num_views
        self.passes = Passes(passes, passes)

    def read(
        self, features: EpisodeFeatures, head: Head, rows: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return the one row -> mean logits (E, Q, W) over the crops."""
        return {self.row: EpisodeScores(features, head).read("class", mean=True)}
