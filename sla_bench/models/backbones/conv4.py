"""Conv-4, the small network of few-shot learning (Vinyals et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sla_bench.models.backbones.base import HALVINGS, Backbone, conv_bn, initialize, size_after_pooling


class Conv4(Backbone):
    """Four times 3x3 convolution, batch normalisation, ReLU, 2x2 max pooling, as in Snell et al. 2017.

    Args:
        image_size: height = width in pixels, at least 16.
        channels: of each convolution; D = channels * (image_size // 16)^2.
        generator: source of the initial weights (`initialize`); None means torch's global generator.
    """

    def __init__(self, image_size: int, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__(num_features=channels * size_after_pooling(image_size) ** 2)
        layers: list[nn.Module] = []
        for block in range(HALVINGS):
            # ReLU after pooling gives the same values and gradients as before it, for a quarter of the work.
            convolution = conv_bn(channels if block else 3, channels, 3)
            layers += [*convolution, nn.MaxPool2d(2), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        initialize(self, generator)

    @property
    def stages(self) -> list[list[nn.Module]]:
        """The four blocks; see the base class."""
        layers = list(self.layers)
        return [layers[first : first + 4] for first in range(0, len(layers), 4)]

    def pooled(self, maps: Tensor) -> Tensor:
        """Flattened maps; see the base class."""
        return maps.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, H, W) -> (B, D)."""
        return self.pooled(self.layers(images))


def conv4(image_size: int, *, generator: torch.Generator | None = None) -> Conv4:
    """Conv-4 with 64 channels: D = 256 at 32 px, 64 at 28 px, 1,600 at 84 px."""
    return Conv4(image_size, 64, generator)


def conv4_32(image_size: int, *, generator: torch.Generator | None = None) -> Conv4:
    """Conv-4 with 32 channels: D = 128 at 32 px, 32 at 28 px, 800 at 84 px."""
    return Conv4(image_size, 32, generator)
