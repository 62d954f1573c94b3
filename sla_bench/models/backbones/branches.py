"""Branches of a backbone, which end in features of each stage."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sla_bench.models.backbones.base import Backbone


class Branches(nn.Module):
    """After each stage but the last a copy of the later stages, with weights of its own.

    Args:
        backbone: with two stages at least; it is not changed.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        later = [
            [layer for stage in backbone.stages[k:] for layer in stage] for k in range(len(backbone.stages))
        ]
        self.branches = nn.ModuleList(nn.Sequential(*copy.deepcopy(layers)) for layers in later[1:])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def count(self) -> int:
        """L, the stages."""
        return len(self.branches) + 1

    def forward(self, backbone: Backbone, images: Tensor) -> Tensor:
        """Embed images by a backbone of the same kind and by its branches: (B, 3, H, W) -> (B, L*D).

        The backbone's features come first, then those of the branches, the earliest stage first.
        """
        maps: list[Tensor] = []
        hooks = [
            stage[-1].register_forward_hook(lambda module, given, found: maps.append(found))
            for stage in backbone.stages[:-1]
        ]
        try:
            features = backbone(images)
        finally:
            for hook in hooks:
                hook.remove()
        parts = zip(self.branches, maps, strict=True)
        return torch.cat([features, *(backbone.pooled(branch(found)) for branch, found in parts)], dim=1)
