"""The learner as it is."""

from __future__ import annotations

from torch import Tensor

from sla_bench.losses.smoothing import smoothed_cross_entropy
from sla_bench.objectives import classifier_base
from sla_bench.objectives.base import (
    EpisodeFeatures,
    Head,
    SingleObjective,
    ViewHead,
    accuracy,
)


class Baseline(SingleObjective):
    """Mean cross entropy of the queries of an ordinary episode."""

    row = "baseline"

    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: ViewHead | None
    ) -> tuple[Tensor, Tensor]:
        """CE(u(z_0), y); see the base class."""
        del view_head
        logits = head(
            features.support[:, :, 0], features.support_labels, features.query[:, :, 0], features.ways
        )
        return smoothed_cross_entropy(logits, features.query_labels, label_smoothing), accuracy(
            logits, features.query_labels
        )


class BaselineClassifier(classifier_base.SingleClassifier):
    """The criterion on upright images."""

    row = "baseline"

    def loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """CE(u(z_0), y), or another criterion; over all copies where a batch holds some."""
        return classifier_base.every_view(self.criterion, self.head(features), labels)
