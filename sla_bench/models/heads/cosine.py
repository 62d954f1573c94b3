"""A cosine classifier, fitted on the support by gradient steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sla_bench.errors import fraction, positive, whole_number
from sla_bench.models.heads.fitted import FittedHead

BATCH = 4
"""Support images of a step in the published code."""

LONGEST_STEP = 0.25
"""Largest learning rate of a step over the whole support."""


class CosineHead(FittedHead):
    """Baseline++ of Chen et al. 2019 (arXiv 1904.04232): logits `scale g_c cos(q, v_c)`.

    Direction v_c and gain g_c of each class are fitted by cross entropy, `epochs` times over the support. The
    published code (wyharveychen/CloserLookFewShot) takes random batches of 4 with momentum 0.9 and dampening
    0.9, an average of the latest gradients, and starts from random directions. Here nothing is random: a step
    sees the whole support, is as long as the steps of an epoch together (where that exceeds 0.25, an epoch
    is several steps), and needs no average. The first directions are at right angles to all
    embeddings, as random ones are where features are many; |v_c| and g_c start at 1/sqrt(3), the length that
    PyTorch's first weights of a linear layer have. Both decay.

    Args:
        epochs: at least 1.
        learning_rate: of a batch of 4; above 0.
        weight_decay: of v_c and g_c, in [0, 1).
        scale: of the cosines; above 0, fixed as in the published code.
    """

    def __init__(
        self,
        *,
        epochs: int = 100,
        learning_rate: float = 0.01,
        weight_decay: float = 0.001,
        scale: float = 2.0,
    ) -> None:
        super().__init__(scale=scale)
        self.epochs = whole_number("CosineHead", "epochs", epochs, 1)
        self.learning_rate = positive("CosineHead", "learning_rate", learning_rate)
        why = "weights would change their sign"
        self.weight_decay = fraction("CosineHead", "weight_decay", weight_decay, why)

    def fit(self, kernel: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """See `FittedHead.fit`.

        v_c is carried as `A' points + r u` with a unit vector u at right angles to all points, so that the
        number of features makes no difference to the work.
        """
        points, kernel = targets.shape[1], kernel.to(targets.dtype)
        steps, rate = self.schedule(points)
        scale = float(self.scale)
        gain = rest = torch.full_like(targets[:, :1], 1 / math.sqrt(3))
        inside = torch.zeros_like(targets)
        keep = 1 - rate * self.weight_decay
        for _ in range(steps):
            length, cosines = _cosines(kernel, inside, rest)
            slope = ((scale * gain * cosines).softmax(2) - targets) / points
            pull = (slope * cosines).sum(1, keepdim=True)
            step = rate * scale * gain / length
            # The part of the gradient along v_c itself leaves the cosines as they are.
            stretch = keep + step * pull / length
            inside = stretch * inside - step * slope
            rest = stretch * rest
            gain = keep * gain - rate * scale * pull
        length, _ = _cosines(kernel, inside, rest)
        return inside * gain / length, torch.zeros_like(gain)

    def schedule(self, points: int) -> tuple[int, float]:
        """Number and learning rate of the steps over a support of so many points."""
        total = self.epochs * self.learning_rate * math.ceil(points / BATCH)
        steps = max(self.epochs, math.ceil(total / LONGEST_STEP))
        return steps, total / steps


def _cosines(kernel: Tensor, inside: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths |v_c| (E, 1, W) and cosines between points and v_c (E, S, W)."""
    products = kernel @ inside
    length = ((inside * products).sum(1, keepdim=True) + rest.square()).sqrt()
    return length, products / length
