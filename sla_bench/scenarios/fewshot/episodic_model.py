"""The few-shot model: a backbone and a head."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sla_bench.config import Precision
from sla_bench.models.backbones.base import Backbone
from sla_bench.objectives.episodes import Head
from sla_bench.training.loop import autocast


class EpisodicModel(nn.Module):
    """A backbone with a few-shot head and, for objectives that ask for it, a classifier of the view.

    Args:
        backbone: embeds images.
        head: fits embeddings; or, where it adapts the network, takes the backbone as first argument and
            images for embeddings.
        view_head: embeddings (..., D) -> (..., M).
        adapts_network: the head is one of the second kind.
        precision: of the backbone's arithmetic.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        view_head: nn.Module | None,
        adapts_network: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.view_head = backbone, head, view_head
        self.adapts_network, self.precision = adapts_network, precision

    @property
    def support_passes(self) -> int:
        """How often a support image passes through the network for one fit of the head."""
        return int(self.head.support_passes) if self.adapts_network else 1  # type: ignore[arg-type]

    def features(self, images: Tensor) -> Tensor:
        """What the head takes for images (B, 3, H, W): float32 (B, D), embeddings or pixels."""
        if self.adapts_network:
            return images.flatten(1)
        return self._embed(images)

    @property
    def episode_head(self) -> Head:
        """The head as objectives call it."""
        if not self.adapts_network:
            return self.head
        return self._in_precision(functools.partial(self.head, self.backbone))

    @property
    def view_classifier(self) -> Callable[[Tensor], Tensor] | None:
        """The classifier of the view as objectives call it: features (..., D) -> (..., M)."""
        if self.view_head is None or not self.adapts_network:
            return self.view_head
        return self._classify_views

    def _embed(self, images: Tensor) -> Tensor:
        with autocast(self.precision, images.device):
            features: Tensor = self.backbone(images.contiguous(memory_format=torch.channels_last))
        return features.float()

    def _classify_views(self, pixels: Tensor) -> Tensor:
        """By the network before any adaptation."""
        assert self.view_head is not None
        size = math.isqrt(pixels.shape[-1] // 3)
        features = self._embed(pixels.reshape(-1, 3, size, size))
        logits: Tensor = self.view_head(features)
        return logits.view(*pixels.shape[:-1], -1)

    def _in_precision(self, head: Head) -> Head:
        def run(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
            with autocast(self.precision, support.device):
                return head(support, labels, query, ways)

        return run
