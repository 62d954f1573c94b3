"""Dropout and DropBlock that draw from a given generator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad


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
