"""The learner as it is."""

from __future__ import annotations

from torch import Tensor, nn

from sla_bench.objectives.base import (
    EpisodeFeatures,
    Head,
    SingleObjective,
    accuracy,
    smoothed_cross_entropy,
)


class Baseline(SingleObjective):
    """Mean cross entropy of the queries of an ordinary episode."""

    row = "baseline"

    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: nn.Module | None
    ) -> tuple[Tensor, Tensor]:
        """CE(u(z_1), y); see the base class."""
        del view_head
        logits = head(
            features.support[:, :, 0], features.support_labels, features.query[:, :, 0], features.ways
        )
        return smoothed_cross_entropy(logits, features.query_labels, label_smoothing), accuracy(
            logits, features.query_labels
        )
