"""Batch normalisation by the supports' statistics, independent of the other queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SupportBatchNorm2d(nn.BatchNorm2d):
    """Normalises a batch by mean and variance of its first `num_supports` rows, in training and at test.

    MetaBN in Bronskill et al. 2020 (arXiv 2003.03284): as in the published code of MAML an episode is
    normalised by itself, but there the queries of a test are normalised by each other. Running statistics
    are neither used nor updated.
    """

    num_supports: int

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """(B, C, H, W) -> (B, C, H, W)."""
        if len(input) == self.num_supports:
            return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)
        supports = input[: self.num_supports].to(torch.promote_types(input.dtype, torch.float32))
        variance, mean = torch.var_mean(supports, (0, 2, 3), correction=0)
        factor = (variance + self.eps).rsqrt()
        if self.weight is not None:
            factor = factor * self.weight
        shift = -mean * factor
        if self.bias is not None:
            shift = shift + self.bias
        return input * factor[:, None, None] + shift[:, None, None]


def normalize_by_supports(network: nn.Module) -> None:
    """Let each batch normalisation of a network, which keeps its weights, be one by the supports."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SupportBatchNorm2d


def set_num_supports(network: nn.Module, count: int) -> None:
    """Set the number of supports in the next batch; they come first."""
    for module in network.modules():
        if isinstance(module, SupportBatchNorm2d):
            module.num_supports = count
