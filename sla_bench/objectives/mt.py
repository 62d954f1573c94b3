"""Multi-task learning: data augmentation, and the view is a second task."""

from __future__ import annotations

from torch import Tensor, nn

from sla_bench.objectives import classifier_base
from sla_bench.objectives.base import EpisodeFeatures, Head, ViewHead, view_cross_entropy, view_loss
from sla_bench.objectives.da import DataAugmentation, DataAugmentationClassifier
from sla_bench.transforms import Transform


class MultiTask(DataAugmentation):
    """`da` plus a linear classifier of the view over supports and queries."""

    row = "MT"

    def view_head(self, num_features: int) -> nn.Module:
        """A linear layer (..., D) -> (..., M)."""
        return nn.Linear(num_features, self.num_views)

    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: ViewHead | None
    ) -> tuple[Tensor, Tensor]:
        """mean_j [CE(u(z_j), y) + CE(v(z_j), j)]; see the base class."""
        assert view_head is not None
        loss, accuracy = super().loss(features, head, label_smoothing, None)
        return loss + view_loss(features, view_head), accuracy


class MultiTaskClassifier(DataAugmentationClassifier):
    """`da` plus a linear classifier of the view; the view's loss is never re-weighted."""

    row = "MT"

    def __init__(self, num_features: int, classes: classifier_base.Classes, transform: Transform) -> None:
        super().__init__(num_features, classes, transform)
        self.view_head = nn.Linear(num_features, self.num_views)

    def loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """mean_j [CE(u(z_j), y) + CE(v(z_j), j)], the first or another criterion."""
        loss, accuracy = super().loss(features, labels)
        return loss + view_cross_entropy(self.view_head(features)), accuracy

    def recognised_view(self, features: Tensor) -> Tensor:
        """The second task's scores; see the base class."""
        scores: Tensor = self.view_head(features)
        return scores
