"""Crops and flips of whole batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# The choice of parts (`draw_parts`) and their resizing (`ResizedCrop`) are separate, as in `augment.py`.


SCALE = (0.08, 1.0)
"""Fraction of the image's area."""
ASPECT = (3 / 4, 4 / 3)
"""Width over height of a part."""
_ATTEMPTS = 10


@dataclass(frozen=True)
class Parts:
    """A rectangle in each of B images, in pixels; every field int64 (B,).

    Args:
        top: first row.
        left: first column.
        height: rows, at least 1.
        width: columns, at least 1.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def draw_parts(count: int, height: int, width: int, generator: torch.Generator) -> Parts:
    """Draw a rectangle for each of `count` images of `height` x `width` pixels.

    The area is uniform in `SCALE`, the logarithm of the aspect uniform between those of `ASPECT`, the place
    uniform. A part that does not fit is drawn again, up to ten times in all; then the largest central part of
    an admitted aspect is taken.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float64).uniform_(low, high, generator=generator)

    area = height * width * uniform(*SCALE, count, _ATTEMPTS)
    aspect = uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), count, _ATTEMPTS).exp()
    widths, heights = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    # `argmax` gives the first of equal values.
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    found = fits.any(1)
    largest_height, largest_width = _largest(height, width)
    own_height = torch.where(found, heights.gather(1, first).squeeze(1), largest_height).long()
    own_width = torch.where(found, widths.gather(1, first).squeeze(1), largest_width).long()
    place = uniform(0, 1, count, 2)
    # The central part is taken where nothing fitted.
    place = torch.where(found[:, None], place, 0.5)
    top = (place[:, 0] * (height - own_height + found)).long()
    left = (place[:, 1] * (width - own_width + found)).long()
    return Parts(top, left, own_height, own_width)


def _largest(height: int, width: int) -> tuple[int, int]:
    """The largest part of an admitted aspect: all of the image, or its full height or width."""
    if width < ASPECT[0] * height:
        return round(width / ASPECT[0]), width
    if width > ASPECT[1] * height:
        return height, round(height * ASPECT[1])
    return height, width


class ResizedCrop:
    """Cuts a part out of each image, scales it bilinearly, and mirrors it where asked.

    It interpolates between neighbouring pixels of the part, without averaging over those it skips
    (torchvision's `antialias=False`); images are therefore best kept little larger than `size`.

    Args:
        size: height = width of the results.
        device: where the images are.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self._size = size
        self._centres = (torch.arange(size, device=device) + 0.5) / size

    def __call__(self, images: Tensor, parts: Parts, flip: Tensor) -> Tensor:
        """Cut, scale and mirror B images.

        Args:
            images: uint8 (B, H, W, 3).
            parts: a rectangle inside each image.
            flip: bool (B,), mirror left and right.

        Returns:
            uint8 (B, size, size, 3).
        """
        count, height, width, _ = images.shape
        rows = self._positions(parts.top, parts.height, height)
        columns = self._positions(parts.left, parts.width, width)
        columns = torch.where(flip[:, None], columns.flip(1), columns)
        shape = (count, self._size, self._size)
        grid = torch.stack((columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)), -1)
        scaled = functional.grid_sample(images.permute(0, 3, 1, 2).float(), grid, align_corners=False)
        return scaled.round_().to(torch.uint8).permute(0, 2, 3, 1)

    def _positions(self, start: Tensor, extent: Tensor, length: int) -> Tensor:
        """Source position of each pixel of the result, (B, size), in `grid_sample`'s units, -1 to 1."""
        inside = self._centres * extent[:, None] - 0.5
        # Pixels beyond the part's border do not belong to the part.
        inside = inside.clamp_(min=0).minimum(extent[:, None] - 1)
        return (2 * (inside + start[:, None]) + 1) / length - 1


class AlternatingFlips:
    """Mirrors each image every other time that it is drawn.

    In a pass over all images half of them are mirrored, in the next pass the others, as in airbench94
    (Jordan 2024, arXiv 2404.00498).

    Args:
        count: N, how many images there are.
        generator: draws which images are mirrored the first time.
    """

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._mirrored = torch.rand(count, generator=generator) < 0.5

    def __call__(self, index: Tensor) -> Tensor:
        """Say it of the next batch.

        Args:
            index: int64 (B,), positions of its images, on the CPU; an image that comes twice alternates
                within the batch.

        Returns:
            bool (B,).
        """
        ordered, places = index.sort(stable=True)
        new = torch.ones_like(ordered, dtype=torch.bool)
        new[1:] = ordered[1:] != ordered[:-1]
        numbers = torch.arange(len(index))
        # How often the image came before in this batch.
        rank = numbers - numbers[new][new.cumsum(0) - 1]
        flips = torch.empty_like(new)
        flips[places] = self._mirrored[ordered] ^ (rank % 2).bool()
        # Of equal positions the last one stands at the end of its run.
        last = torch.cat([new[1:], torch.ones_like(new[:1])])
        self._mirrored[ordered[last]] = ~flips[places[last]]
        return flips

    def state(self) -> Tensor:
        """Which images are mirrored next, bool (N,)."""
        return self._mirrored

    def load_state(self, state: Tensor) -> None:
        """Restore a state, bool (N,)."""
        self._mirrored = state
