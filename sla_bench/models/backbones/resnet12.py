"""ResNet-12, the standard network of few-shot learning, as in MetaOptNet."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, max_pool2d, pad

from sla_bench.errors import UserError
from sla_bench.models.backbones.base import Backbone, conv_bn, initialize, size_after_pooling


def dropout(features: Tensor, rate: float | Tensor, generator: torch.Generator) -> Tensor:
    """Zero each value with probability `rate` and divide the others by 1 - rate (Srivastava et al. 2014).

    Args:
        features: (B, C, H, W).
        rate: in [0, 1), a number or a tensor without dimensions.
        generator: on the device of the features.
    """
    keep = _uniform(features.shape, features.device, generator) >= rate
    return features * keep / (1 - rate)


def dropblock(features: Tensor, rate: float | Tensor, block_size: int, generator: torch.Generator) -> Tensor:
    """Zero square blocks, drawn for each channel of each image (Ghiasi et al. 2018, algorithm 1).

    Blocks lie inside the map. Their corners are drawn with probability
    gamma = rate / b^2 * f^2 / (f - b + 1)^2, so that a fraction `rate` would be dropped on average if blocks
    never overlapped. The kept values are multiplied by (number of values) / (number kept), counted over the
    whole batch.

    Args:
        features: (B, C, f, f).
        rate: in [0, 1), a number or a tensor without dimensions.
        block_size: b, from 1 to f.
        generator: on the device of the features.
    """
    batch, channels, size, _ = features.shape
    corners = size - block_size + 1
    gamma = rate / block_size**2 * size**2 / corners**2
    seeds = _uniform((batch, channels, corners, corners), features.device, generator) < gamma
    padded = pad(seeds.to(features.dtype), [block_size - 1] * 4)
    keep = max_pool2d(padded, block_size, stride=1) == 0
    return features * keep * (keep.numel() / keep.sum().clamp(min=1))


def _uniform(shape: tuple[int, ...], device: torch.device, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), laid out channels_last like the features that it will meet."""
    batch, channels, height, width = shape
    numbers = torch.rand(batch, height, width, channels, generator=generator, device=device)
    return numbers.permute(0, 3, 1, 2)


CHANNELS = (64, 160, 320, 640)
SLOPE = 0.1


class ResidualBlock(nn.Module):
    """Three 3x3 convolutions beside a 1x1 one, each with batch normalisation; their sum is halved in size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *conv_bn(in_channels, out_channels, 3),
            nn.LeakyReLU(SLOPE, inplace=True),
            *conv_bn(out_channels, out_channels, 3),
            nn.LeakyReLU(SLOPE, inplace=True),
            *conv_bn(out_channels, out_channels, 3),
        )
        self.shortcut = nn.Sequential(*conv_bn(in_channels, out_channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, h, h) -> (B, out, h // 2, h // 2)."""
        # The activation after pooling gives the same values as before it, for a quarter of the work.
        return leaky_relu(max_pool2d(self.path(features) + self.shortcut(features), 2), SLOPE)


class ResNet12(Backbone):
    """Four residual blocks of 64, 160, 320 and 640 channels (Lee et al. 2019, MetaOptNet).

    In training, dropout follows blocks 1 and 2, and DropBlock blocks 3 and 4. The rate of DropBlock grows
    linearly from 0 to `drop_rate` over the first `drop_block_steps` training steps, which `advance` counts.
    (MetaOptNet's code counts forward passes instead, those of evaluation too.)

    Args:
        image_size: height = width in pixels, at least 16.
        avg_pool: average the last map (D = 640) or flatten it (D = 640 * (image_size // 16)^2).
        drop_rate: of dropout, and finally of DropBlock, in [0, 1); 0 switches both off.
        block_size: side of DropBlock's blocks, at most that of block 3's output; block 4 caps it at its own
            output. None means MetaOptNet's choice: 2 up to 32 px, else 5 (capped likewise).
        drop_block_steps: length of DropBlock's ramp in training steps, at least 1.
        generator: source of the initial weights (`initialize`); None means torch's global generator.

    Raises:
        UserError: a value is out of its range.
    """

    training_steps: Tensor

    def __init__(
        self,
        image_size: int,
        avg_pool: bool,
        drop_rate: float = 0.1,
        block_size: int | None = None,
        drop_block_steps: int = 40_000,
        generator: torch.Generator | None = None,
    ) -> None:
        last_size = size_after_pooling(image_size)
        super().__init__(num_features=CHANNELS[-1] * (1 if avg_pool else last_size**2))
        if not (isinstance(drop_rate, int | float) and 0 <= drop_rate < 1):
            raise UserError(f"ResNet-12's drop_rate must be a number from 0 to below 1, got {drop_rate!r}")
        if not (isinstance(drop_block_steps, int) and drop_block_steps >= 1):
            raise UserError(
                f"ResNet-12's drop_block_steps must be a whole number from 1, got {drop_block_steps!r}"
            )
        largest = size_after_pooling(image_size, halvings=3)
        if block_size is None:
            block_size = min(2 if image_size <= 32 else 5, largest)
        elif not (isinstance(block_size, int) and 1 <= block_size <= largest):
            raise UserError(
                f"ResNet-12's block_size must be a whole number from 1 to {largest} (the map after block 3 of"
                f" {image_size}-px images), got {block_size!r}"
            )
        self.avg_pool = avg_pool
        self.drop_rate = drop_rate
        self.drop_block_steps = float(drop_block_steps)
        self.block_sizes = (None, None, block_size, min(block_size, last_size))
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after) for before, after in zip((3, *CHANNELS), CHANNELS, strict=False)
        )
        # A buffer, so that a resumed run continues the schedule.
        self.register_buffer("training_steps", torch.zeros((), dtype=torch.int64))
        initialize(self, generator)

    @property
    def is_random(self) -> bool:
        """Whether there is dropout."""
        return bool(self.drop_rate)

    @property
    def drop_block_rate(self) -> Tensor:
        """Rate of DropBlock at the present training step, a scalar."""
        return self.drop_rate * (self.training_steps / self.drop_block_steps).clamp(max=1)

    def stretch(self, factor: int | Fraction) -> None:
        """Make DropBlock's ramp so many times as long."""
        self.drop_block_steps = float(self.drop_block_steps * factor)

    def advance(self, steps: int = 1) -> None:
        """Count `steps` optimiser steps on DropBlock's ramp."""
        self.training_steps += steps

    @property
    def stages(self) -> list[list[nn.Module]]:
        """The four blocks, without dropout; see the base class."""
        return [[block] for block in self.blocks]

    def pooled(self, maps: Tensor) -> Tensor:
        """Averaged or flattened maps; see the base class."""
        return maps.mean((2, 3)) if self.avg_pool else maps.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: (B, 3, H, W) -> (B, D)."""
        features = images
        for block, block_size in zip(self.blocks, self.block_sizes, strict=True):
            features = block(features)
            if self.training and self.drop_rate:
                features = self._drop(features, block_size)
        return self.pooled(features)

    def _drop(self, features: Tensor, block_size: int | None) -> Tensor:
        if block_size is None:
            return dropout(features, self.drop_rate, self.generator)
        return dropblock(features, self.drop_block_rate, block_size, self.generator)


def resnet12(
    image_size: int,
    *,
    drop_rate: float = 0.1,
    block_size: int | None = None,
    drop_block_steps: int = 40_000,
    generator: torch.Generator | None = None,
) -> ResNet12:
    """ResNet-12 without average pooling: D = 2,560 at 32 px, 640 at 28 px, 16,000 at 84 px."""
    return ResNet12(image_size, False, drop_rate, block_size, drop_block_steps, generator)


def resnet12_avgpool(
    image_size: int,
    *,
    drop_rate: float = 0.1,
    block_size: int | None = None,
    drop_block_steps: int = 40_000,
    generator: torch.Generator | None = None,
) -> ResNet12:
    """ResNet-12 with average pooling: D = 640 at every size."""
    return ResNet12(image_size, True, drop_rate, block_size, drop_block_steps, generator)
