"""ResNets for small images, in LDAM-DRW's and in SLA's form."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from sla_bench.errors import UserError
from sla_bench.models.backbones.base import Backbone, conv_bn, initialize

CHANNELS = (16, 32, 64)
SMALLEST_IMAGE = 8

Variant = Literal["ldam", "sla"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a shortcut without parameters ("option A").

    Where the number of channels grows, convolution and shortcut take every other row and column, and the
    missing channels of the shortcut are zeros.

    Args:
        in_channels: of the input.
        out_channels: `in_channels`, or more.
        zeros_before: how many of the missing channels come before those of the input; the others follow them.
    """

    def __init__(self, in_channels: int, out_channels: int, zeros_before: int) -> None:
        super().__init__()
        missing = out_channels - in_channels
        self.stride = 2 if missing else 1
        self.padding = (zeros_before, missing - zeros_before)
        self.path = nn.Sequential(
            *conv_bn(in_channels, out_channels, 3, self.stride),
            nn.ReLU(inplace=True),
            *conv_bn(out_channels, out_channels, 3),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, h, h) -> (B, out, h', h') with h' = h, or (h + 1) // 2 where the channels grow."""
        added: Tensor = self.path(features).add_(self.shortcut(features)).relu_()
        return added

    def shortcut(self, features: Tensor) -> Tensor:
        """The shortcut, (B, in, h, h) -> (B, out, h', h')."""
        if self.stride == 1:
            return features
        # Pooling over single pixels is slicing whose gradient stays channels_last; that of a slice does not.
        return pad(avg_pool2d(features, 1, self.stride), (0, 0, 0, 0, *self.padding))


class CifarResNet(Backbone):
    """A 3x3 convolution and three stages of basic blocks with 16, 32 and 64 channels; D = 64, averaged.

    The two variants differ in the padding of the shortcut and in the initial weights, see `Args`. Depth
    counts the convolutions and the linear layer of a classifier: 6 * blocks + 2.

    Args:
        image_size: height = width in pixels, at least 8.
        blocks: in each stage, at least 1.
        variant: "ldam" is LDAM-DRW's code (Cao et al. 2019, after Y. Idelbayev): half of the zero channels
            before and half after the others, weights from N(0, 2 / (9 in_channels)). "sla" is SLA's code (Lee
            et al. 2020): all zeros after them, weights from N(0, 2 / (9 out_channels)).
        generator: source of the initial weights (`initialize`); None means torch's global generator.

    Raises:
        UserError: the images are too small.
    """

    def __init__(
        self, image_size: int, blocks: int, variant: Variant, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(num_features=CHANNELS[-1])
        if image_size < SMALLEST_IMAGE:
            raise UserError(
                f"images of {image_size} px are too small for this ResNet: at least {SMALLEST_IMAGE} px"
            )
        self.stem = nn.Sequential(*conv_bn(3, CHANNELS[0], 3), nn.ReLU(inplace=True))
        before = [CHANNELS[0], *CHANNELS]
        layers: list[BasicBlock] = []
        for in_channels, out_channels in zip(before, CHANNELS, strict=False):
            zeros_before = (out_channels - in_channels) // 2 if variant == "ldam" else 0
            layers.append(BasicBlock(in_channels, out_channels, zeros_before))
            layers += [BasicBlock(out_channels, out_channels, 0) for _ in range(blocks - 1)]
        self.blocks = nn.Sequential(*layers)
        initialize(self, generator, mode="fan_in" if variant == "ldam" else "fan_out")

    @property
    def stages(self) -> list[list[nn.Module]]:
        """The blocks of 16, 32 and 64 channels; see the base class."""
        blocks = list(self.blocks)
        each = len(blocks) // len(CHANNELS)
        return [blocks[first : first + each] for first in range(0, len(blocks), each)]

    def pooled(self, maps: Tensor) -> Tensor:
        """Means of maps; see the base class."""
        # Its gradient is channels_last; that of `mean` is not, and each layer before it would convert it.
        return avg_pool2d(maps, maps.shape[2:]).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, H, W) -> (B, 64)."""
        return self.pooled(self.blocks(self.stem(images)))


def resnet8(image_size: int, *, generator: torch.Generator | None = None) -> CifarResNet:
    """SLA's variant with one block per stage: for 28-px images and quick runs."""
    return CifarResNet(image_size, 1, "sla", generator)


def resnet20_ldam(image_size: int, *, generator: torch.Generator | None = None) -> CifarResNet:
    """ResNet-20, three blocks per stage, LDAM-DRW's variant."""
    return CifarResNet(image_size, 3, "ldam", generator)


def resnet20_sla(image_size: int, *, generator: torch.Generator | None = None) -> CifarResNet:
    """ResNet-20, three blocks per stage, SLA's variant."""
    return CifarResNet(image_size, 3, "sla", generator)


def resnet32_ldam(image_size: int, *, generator: torch.Generator | None = None) -> CifarResNet:
    """ResNet-32, five blocks per stage, LDAM-DRW's variant."""
    return CifarResNet(image_size, 5, "ldam", generator)


def resnet32_sla(image_size: int, *, generator: torch.Generator | None = None) -> CifarResNet:
    """ResNet-32, five blocks per stage, SLA's variant."""
    return CifarResNet(image_size, 5, "sla", generator)
