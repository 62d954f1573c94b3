"""Faster ways to run a backbone in training: compiled, or replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from sla_bench.config import Acceleration
from sla_bench.errors import UserError
from sla_bench.models.backbones.base import Backbone

Network: TypeAlias = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) -> features (B, D), with the weights of a backbone."""


class _Shell(nn.Module):
    """Takes the graph in the place of the backbone, whose copies for validation have to do without."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images)
        return features


def accelerated(
    backbone: Backbone, how: Acceleration, precision: str, batch: Callable[[], Tensor] | None
) -> Network:
    """Return what embeds the batches of a training, with the values of the backbone up to rounding.

    The backbone has to be in training mode; its weights, statistics and files stay what they are.

    Args:
        backbone: on its device.
        how: "compiled" with torch.compile; "captured" as a CUDA graph, so that hundreds of kernels start as
            one.
        precision: of the backbone.
        batch: makes images of the shape that all batches have, (B, 3, H, W); None: they have several.

    Raises:
        UserError: a CUDA graph can't hold the training.
    """
    if how == "compiled":
        compiled: Network = torch.compile(backbone, dynamic=False)
        return compiled
    if how == "captured":
        return _captured(backbone, precision, batch)
    return backbone


def _captured(backbone: Backbone, precision: str, batch: Callable[[], Tensor] | None) -> Network:
    if batch is None:
        raise UserError("--capture: a training on episodes has batches of several shapes; leave it out")
    images = batch()
    if images.device.type != "cuda":
        raise UserError(f"--capture: CUDA graphs need an NVIDIA GPU, and the run is on {images.device.type}")
    if backbone.is_random:
        raise UserError(
            f"--capture: a graph would repeat the dropout of {type(backbone).__name__}; leave --capture out, "
            "or set the backbone's dropout to 0"
        )
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    # A graph keeps no cache of weights in low precision: they change between its replays.
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
        graphed: Any = torch.cuda.make_graphed_callables(_Shell(backbone).train(), (images,))
    # The passes of the warm-up have moved the statistics of batch normalisation.
    backbone.load_state_dict(before)
    network: Network = graphed
    return network
