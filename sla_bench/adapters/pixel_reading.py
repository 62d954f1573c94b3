"""Images of torch data sets (pictures, arrays, tensors) become uint8 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from sla_bench.data.images import as_rgb
from sla_bench.errors import UserError

_GREY_MODES = ("1", "L")


class PixelReader:
    """Collects images of one size; their kind is known once all have been seen.

    Floats are 0..1, as torchvision's `ToTensor` makes them, or whole numbers 0..255, as learn2learn's
    MiniImagenet has them. An image of nothing but zeros and ones could be either: the others decide, and
    without any other it is 0..1.

    Args:
        count: N, number of images to come.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pixels: np.ndarray | None = None
        self._all_grey = True
        self._unit: float | None = None  # what white is among the floats seen so far
        self._undecided: list[int] = []

    def add(self, position: int, image: Any) -> None:
        """Take the image at a position.

        Raises:
            UserError: not an image, of another size than the first, normalised, or floats on another scale.
        """
        array = _rows_columns_channels(image, position)
        if self._pixels is None:
            self._pixels = np.empty((self._count, *array.shape[:2], 3), np.uint8)
        if array.shape[:2] != self._pixels.shape[1:3]:
            own, other = array.shape[:2], self._pixels.shape[1:3]
            raise UserError(
                f"image {position} has {own[0]} x {own[1]} pixels, another {other[0]} x {other[1]}: give the "
                "data set a transform that resizes"
            )
        self._all_grey = self._all_grey and array.shape[2] == 1
        if array.dtype != np.uint8:
            array = self._as_bytes(array, position)
        self._pixels[position] = array  # one channel is repeated

    def finish(self) -> tuple[np.ndarray, bool]:
        """All images, uint8 (N, H, W, 3), and whether each has one channel only."""
        assert self._pixels is not None
        if self._unit != 255:
            self._pixels[self._undecided] *= 255
        return self._pixels, self._all_grey

    def _as_bytes(self, array: np.ndarray, position: int) -> np.ndarray:
        low, high = float(array.min()), float(array.max())
        whole = bool((array == array.round()).all())
        if not low >= 0 or not high <= 255 or (high > 1 and not whole):
            raise UserError(
                f"image {position} has values from {low:.4g} to {high:.4g}; floats must be 0..1 or whole "
                "numbers 0..255: take normalisation out of the data set's transform"
            )
        if high <= 1 and whole:
            self._undecided.append(position)
            return array.round().astype(np.uint8)
        unit = 255.0 if high > 1 else 1.0
        if self._unit not in (None, unit):
            raise UserError(
                f"image {position} has values up to {high:.4g}, others up to {self._unit:g}: they must be on "
                "one scale"
            )
        self._unit = unit
        return (array * (255 / unit)).round().astype(np.uint8)


def _rows_columns_channels(image: Any, position: int) -> np.ndarray:
    """uint8 or float (H, W, C), C 1 or 3."""
    if isinstance(image, Image.Image):
        array = np.asarray(image.convert("L") if image.mode in _GREY_MODES else as_rgb(image))
    elif isinstance(image, Tensor):
        array = image.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise UserError(
            f"item {position} of the data set begins with a {type(image).__name__} instead of an image"
        )
    array = array[..., None] if array.ndim == 2 else array
    known = array.dtype == np.uint8 or np.issubdtype(array.dtype, np.floating)
    if array.ndim != 3 or array.shape[2] not in (1, 3) or not known or not array.size:
        layout = "(C, H, W)" if isinstance(image, Tensor) else "(H, W, C)"
        raise UserError(
            f"image {position} must be uint8 or float {layout} with 1 or 3 channels, found {array.dtype} "
            f"{tuple(image.shape) if hasattr(image, 'shape') else array.shape}"
        )
    return array
