"""Control: as many views as SLA, but no negatives across views."""

from __future__ import annotations

from torch import Tensor

from sla_bench.losses.smoothing import smoothed_cross_entropy
from sla_bench.objectives.base import (
    EpisodeFeatures,
    Head,
    SingleObjective,
    ViewHead,
    accuracy,
    per_view_logits,
)


class Views(SingleObjective):
    """An N-way head fitted on support view j and queried with view j, for each j."""

    row = "views"
    trains_on_views = True

    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: ViewHead | None
    ) -> tuple[Tensor, Tensor]:
        """mean_j CE(u_j(z_j), y); see the base class."""
        del view_head
        logits = per_view_logits(features, head)
        labels = features.query_labels[..., None].expand(logits.shape[:-1])
        return smoothed_cross_entropy(logits, labels, label_smoothing), accuracy(logits, labels)
