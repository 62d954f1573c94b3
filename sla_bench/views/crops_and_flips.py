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


class CropAndFlip:
    """Pad with black, cut out a window of the original size, mirror it where asked.

    Memory for up to `capacity` images is kept between calls.

    Args:
        size: height = width of the images.
        padding: pixels of zero padding on each side.
        capacity: most images in a call.
        device: where they are.
    """

    def __init__(self, size: int, padding: int, capacity: int, device: torch.device) -> None:
        self._width = width = size + 2 * padding
        self._padded = torch.zeros(capacity, width, width, 3, dtype=torch.uint8, device=device)
        self._inner = self._padded[:, padding : padding + size, padding : padding + size]
        self._cropped = torch.empty(2 * capacity, size, size, 3, dtype=torch.uint8, device=device)
        self._out = torch.empty_like(self._cropped[:capacity])
        self._slots = torch.arange(2 * capacity, device=device)
        self.reads_back = device.type == "cpu"
        # One image row is one contiguous run of bytes from some pixel on, so that the crop is a copy of rows.
        pixels = capacity * width**2
        self._runs = self._padded.as_strided((pixels - size + 1, 3 * size), (3, 1))
        self._rows = torch.arange(0, pixels, width, device=device).view(capacity, width)[:, :size]

    def __call__(self, images: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
        """Crop and mirror B images.

        Args:
            images: uint8 (B, H, W, 3).
            top: int64 (B,), first row of the window in the padded image, 0..2*padding.
            left: int64 (B,), first column of the window, 0..2*padding.
            flip: bool (B,), mirror left and right after the crop.

        Returns:
            uint8 (B, H, W, 3), overwritten by the next call.
        """
        count = len(images)
        self._inner[:count] = images
        corners = torch.add(left, top, alpha=self._width)
        starts = self._rows[:count] + corners[:, None]
        cropped = self._cropped[:count]
        torch.index_select(self._runs, 0, starts.view(-1), out=cropped.view(-1, self._runs.shape[1]))
        if not self.reads_back:
            # To know which images are mirrored would be to wait for the device.
            return torch.where(flip.view(-1, 1, 1, 1), cropped.flip(2), cropped)
        # Mirrored copies follow the upright images.
        mirrored = flip.nonzero().squeeze(1)
        end = count + len(mirrored)
        self._cropped[count:end] = cropped.index_select(0, mirrored).flip(2)
        slots = self._slots[:count].index_copy(0, mirrored, self._slots[count:end])
        return torch.index_select(self._cropped, 0, slots, out=self._out[:count])
