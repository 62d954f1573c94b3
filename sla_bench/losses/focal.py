"""Focal loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sla_bench.checks import positive
from sla_bench.losses.base import Criterion
from sla_bench.losses.counts import Counts
from sla_bench.losses.reweighting import ClassBalancedWeights


class Focal(Criterion):
    """Focal loss, -(1 - p_y)^gamma log p_y with p = softmax(f) (Lin et al., ICCV 2017, arXiv 1708.02002).

    That paper has sigmoids of a detector; this is LDAM-DRW's form for a softmax. With class weights it takes
    p from the weighted cross entropy, as there: with c = -w_y log p_y the loss is (1 - e^-c)^gamma c, and the
    mean is over images, not over weights.

    Args:
        class_counts: see `Criterion`.
        reweighting: see `Criterion`.
        gamma: above 0; larger values look away from images that are right already.
    """

    def __init__(
        self, class_counts: Counts, reweighting: ClassBalancedWeights | None = None, *, gamma: float = 1.0
    ) -> None:
        super().__init__(class_counts, reweighting)
        self.gamma = positive("focal loss", "gamma", gamma)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """See `Criterion.loss`; the mean over images, whatever the weights."""
        entropy = F.cross_entropy(logits, labels, weight=weights, reduction="none")
        # 1 - p has no derivative under a power below 1 where p rounds to 1.
        miss = (-torch.expm1(-entropy)).clamp_min(torch.finfo(logits.dtype).tiny)
        return (miss**self.gamma * entropy).mean()
