"""Images as callers have them become what the decoder takes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from torch import Tensor

from sla_bench.data.images import UNREADABLE
from sla_bench.errors import UserError
from sla_bench.paths import from_home

OneImage: TypeAlias = str | Path | bytes | np.ndarray | Tensor | Image.Image
"""A file, its content, an array uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a PIL image."""
Images: TypeAlias = OneImage | Iterable[OneImage]
_CHANNELS = (1, 3, 4)


def as_list(images: Images) -> list[Any]:
    """The images one by one; an array (B, H, W, C) is B of them, one of (H, W) or (H, W, C) is one.

    Raises:
        UserError: anything that is neither an image nor a collection.
    """
    if isinstance(images, Tensor):
        images = images.detach().cpu().numpy()
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | Path | bytes | bytearray | Image.Image):
        return [images]
    if not isinstance(images, Iterable):
        raise UserError(f"images must be files, bytes, arrays or PIL images, not {type(images).__name__}")
    return list(images)


def decodable(image: Any, position: int) -> Path | bytes | Image.Image:
    """One image as a file, the content of a file, or a loaded image.

    Args:
        image: as `OneImage`.
        position: among all images, for messages.

    Raises:
        UserError: another type, an array that is not an image, or an image that cannot be loaded.
    """
    if isinstance(image, str | Path):
        return from_home(image)
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    if isinstance(image, Tensor):
        image = image.detach().cpu().numpy()
    if isinstance(image, np.ndarray):
        image = _from_array(image, position)
    if not isinstance(image, Image.Image):
        raise UserError(
            f"image {position} must be a file, bytes, an array or a PIL image, not {type(image).__name__}"
        )
    try:
        image.load()
    except UNREADABLE as error:
        raise UserError(f"cannot read the image at position {position}: {error}") from None
    return image


def name_of(image: Any, position: int) -> str:
    """A name for messages."""
    return str(image) if isinstance(image, str | Path) else f"at position {position}"


def _from_array(array: np.ndarray, position: int) -> Image.Image:
    deep = array.dtype == np.uint16 and array.ndim == 2
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    if not shaped or not array.size or not (deep or array.dtype == np.uint8):
        hint = ""
        if array.ndim == 3 and array.shape[0] in _CHANNELS and not shaped:
            hint = "; channels come last: array.transpose(1, 2, 0)"
        elif array.dtype.kind == "f":
            hint = "; of fractions from 0 to 1 make (array * 255).round().astype('uint8')"
        raise UserError(
            f"image {position} must be uint8 (H, W), (H, W, 3) or (H, W, 4), "
            f"got {array.dtype} {array.shape}{hint}"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return Image.fromarray(np.ascontiguousarray(array))
