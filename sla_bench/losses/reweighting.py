"""Class weights, and the part of the training from which they count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sla_bench.checks import fraction
from sla_bench.losses.counts import Counts, checked_counts

BETA = 0.9999
# LDAM-DRW switches on at the 0-based epoch 160 of 200.
DEFERRED = 0.8


class ClassBalancedWeights(nn.Module):
    """Weights of the effective number of images (Cui et al., CVPR 2019, arXiv 1901.05555).

    w_i is proportional to (1 - beta) / (1 - beta^n_i) and the weights sum to N. From `start` on they count;
    before, all images weigh the same (deferred re-weighting: Cao et al., NeurIPS 2019, arXiv 1906.07413).

    Args:
        class_counts: training images per class, integers (N,), each at least 1.
        beta: in [0, 1); 0 gives equal weights, towards 1 they go as 1 / n_i.
        start: fraction of the training in [0, 1) from which the weights count; 0 is from the first epoch.

    Raises:
        UserError: a class without an image, or an option out of range.
    """

    weights: Tensor

    def __init__(self, class_counts: Counts, beta: float = BETA, start: float = 0.0) -> None:
        super().__init__()
        self.beta = fraction(
            "class-balanced weights", "beta", beta, "the effective number of images is defined below 1"
        )
        self.start = fraction(
            "class-balanced weights", "start", start, "re-weighting would start after the last epoch"
        )
        counts = checked_counts(class_counts)
        # 1 - beta^n, with all digits where beta is close to 1; the factor 1 - beta is lost in the sum.
        effective = -torch.expm1(counts * torch.tensor(self.beta, dtype=torch.float64).log())
        weights = effective.reciprocal()
        self.register_buffer("weights", (weights * (len(counts) / weights.sum())).float(), persistent=False)
        self.reweight(0.0)

    def reweight(self, progress: float) -> None:
        """Say that `progress` in [0, 1) of the training is done."""
        self.active = progress >= self.start

    @property
    def current(self) -> Tensor | None:
        """(N,), or None while all images weigh the same."""
        return self.weights if self.active else None
