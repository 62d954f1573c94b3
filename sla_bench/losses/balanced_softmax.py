"""Balanced softmax."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from sla_bench.losses.base import Criterion
from sla_bench.losses.counts import Counts, checked_counts
from sla_bench.losses.reweighting import ClassBalancedWeights


class BalancedSoftmax(Criterion):
    """Cross entropy of f + log n (Ren et al., NeurIPS 2020, arXiv 2007.10740).

    The softmax carries the class sizes of training, so that f is left to carry a test's equal ones. Scores
    are f.

    Args:
        class_counts: see `Criterion`.
        reweighting: see `Criterion`.
    """

    log_counts: Tensor

    def __init__(self, class_counts: Counts, reweighting: ClassBalancedWeights | None = None) -> None:
        super().__init__(class_counts, reweighting)
        self.register_buffer("log_counts", checked_counts(class_counts).log().float(), persistent=False)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """See `Criterion.loss`."""
        return F.cross_entropy(logits + self.log_counts.to(logits.dtype), labels, weight=weights)
