"""Cross entropy."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from sla_bench.losses.base import Criterion


class CrossEntropy(Criterion):
    """Cross entropy, -log softmax(f)_y: the loss that knows nothing of the imbalance."""

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """See `Criterion.loss`."""
        return F.cross_entropy(logits, labels, weight=weights)
