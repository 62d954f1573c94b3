"""Data augmentation: every view carries the image's label."""

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
    pooled_logits,
)


class DataAugmentation(SingleObjective):
    """N ways, all M views of supports and queries under the label of their image (M*K supports per class)."""

    row = "DA"
    trains_on_views = True

    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: ViewHead | None
    ) -> tuple[Tensor, Tensor]:
        """mean_j CE(u(z_j), y); see the base class."""
        del view_head
        logits = pooled_logits(features, head)
        labels = features.query_labels[..., None].expand(logits.shape[:-1])
        return smoothed_cross_entropy(logits, labels, label_smoothing), accuracy(logits, labels)


class DataAugmentationClassifier(classifier_base.SingleClassifier):
    """All M views of an image under its label."""

    row = "DA"
    trains_on_views = True
    knows_views = True

    @property
    def invariant_heads(self) -> frozenset[str]:
        """The one head."""
        return frozenset({self.row})

    def loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """mean_j CE(u(z_j), y), or another criterion."""
        return classifier_base.every_view(self.criterion, self.head(features), labels)
