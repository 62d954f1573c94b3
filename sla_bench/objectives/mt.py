"""Multi-task learning: data augmentation, and the view is a second task."""

from __future__ import annotations

from torch import Tensor, nn

from sla_bench.objectives.base import EpisodeFeatures, Head, view_loss
from sla_bench.objectives.da import DataAugmentation


class MultiTask(DataAugmentation):
    """`da` plus a linear classifier of the view over supports and queries."""

    row = "MT"

    def view_head(self, num_features: int) -> nn.Module:
        """A linear layer (..., D) -> (..., M)."""
        return nn.Linear(num_features, self.num_views)

    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: nn.Module | None
    ) -> tuple[Tensor, Tensor]:
        """mean_j [CE(u(z_j), y) + CE(v(z_j), j)]; see the base class."""
        assert view_head is not None
        loss, accuracy = super().loss(features, head, label_smoothing, None)
        return loss + view_loss(features, view_head), accuracy
