"""Cutout: a square of each image shows nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from sla_bench.checks import positive
from sla_bench.datasets.base import ImageProperties
from sla_bench.errors import UserError
from sla_bench.mixing.base import Mix, Mixed, unmixed


class Cutout(Mix):
    """A square whose centre may be any pixel, so that less of it lies inside near a border, becomes the mean.

    DeVries and Taylor 2017, arXiv 1708.04552. The normalised mean is 0.

    Args:
        properties: size of the images.
        size: side of the square as a part of the image's, above 0 and at most 1; the square has an even
            number of pixels, at least 2. Published are 1/2 for CIFAR-10 and 1/4 for CIFAR-100.

    Raises:
        UserError: size out of range.
    """

    def __init__(self, properties: ImageProperties, size: float = 0.5) -> None:
        super().__init__(properties)
        if not positive("cutout", "size", size) <= 1:
            raise UserError(f"cutout: size is a part of the image's side, at most 1, got {size}")
        self.half = max(1, round(size * properties.size / 2))

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed:
        """A square of its own for each image; see the base class."""
        height, width = images.shape[2:]
        rows = self._covered(len(images), height, generator)
        columns = self._covered(len(images), width, generator)
        kept = ~(rows[:, :, None] & columns[:, None, :])
        return unmixed(images * kept[:, None].to(images.device), labels)

    def _covered(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Bool (count, side): from `half` before a pixel drawn at random to `half - 1` after it."""
        centre = torch.randint(side, (count, 1), generator=generator)
        distance = torch.arange(side) - centre
        return (distance >= -self.half) & (distance < self.half)
