"""Classifier whose logits are cosines."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CosineHead(nn.Module):
    """Cosine of the feature and the weight of each class, without bias: (..., D) -> (..., N), in [-1, 1].

    As in the code of LDAM-DRW (Cao et al. 2019), the scale of the logits belongs to the loss, and the initial
    weights are uniform in [-1, 1], then brought to length 1. A feature vector of length 0 gives logits 0.

    Args:
        num_features: D.
        num_classes: N.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.empty(num_features, num_classes).uniform_(-1, 1), dim=0))

    def forward(self, features: Tensor) -> Tensor:
        """(..., D) -> (..., N)."""
        return F.normalize(features, dim=-1) @ F.normalize(self.weight, dim=0)
