"""Pictures of any size become squares."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sla_bench.data.base import Fit


def resized(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """Scale and cut a picture, or lay it between bars.

    Args:
        image: RGB, of any size.
        size: height = width of the result in pixels.
        fit: see `image_files.decode`.

    Returns:
        RGB, `size` x `size`.
    """
    if image.size == (size, size) and fit != "inner":
        return image
    if fit == "stretch":
        return image.resize((size, size), Image.Resampling.LANCZOS)
    if fit == "pad":
        return _padded(image, size)
    side = min(image.size) * (7 / 8 if fit == "inner" else 1)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))


def _padded(image: Image.Image, size: int) -> Image.Image:
    """The whole picture in the middle; each bar in the mean colour of the edge beside it."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    lying = width >= height
    rows = pixels if lying else pixels.swapaxes(0, 1)
    before = (size - len(rows)) // 2
    square = np.empty((size, size, 3), np.uint8)
    square[:before] = np.rint(rows[0].mean(0))
    square[before : before + len(rows)] = rows
    square[before + len(rows) :] = np.rint(rows[-1].mean(0))
    return Image.fromarray(square if lying else np.ascontiguousarray(square.swapaxes(0, 1)))
