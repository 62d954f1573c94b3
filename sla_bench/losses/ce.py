"""Cross entropy."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from sla_bench.checks import fraction
from sla_bench.losses.base import Criterion
from sla_bench.losses.counts import Counts
from sla_bench.losses.reweighting import ClassBalancedWeights
from sla_bench.losses.smoothing import smoothed_cross_entropy


class CrossEntropy(Criterion):
    """Cross entropy, -log softmax(f)_y: the loss that knows nothing of the imbalance.

    Args:
        class_counts: see `Criterion`.
        reweighting: see `Criterion`; with smoothing, the weight of an image is that of its label.
        smoothing: what is taken off the target and spread over the other classes, in [0, 1).
    """

    def __init__(
        self, class_counts: Counts, reweighting: ClassBalancedWeights | None = None, *, smoothing: float = 0.0
    ) -> None:
        super().__init__(class_counts, reweighting)
        self.smoothing = fraction(
            "cross entropy", "smoothing", smoothing, "nothing would be left of the label"
        )

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """See `Criterion.loss`."""
        if not self.smoothing:
            return F.cross_entropy(logits, labels, weight=weights)
        losses = smoothed_cross_entropy(logits, labels, self.smoothing, "none")
        if weights is None:
            return losses.mean()
        own = weights[labels]
        return (own * losses).sum() / own.sum()
