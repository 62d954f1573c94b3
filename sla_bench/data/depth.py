"""Pictures with more than 8 bits per channel, scaled to bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

_LUMINANCE_ALPHA = "LA;16B"
_TIFF_BITS, _TIFF_SAMPLE_FORMAT, _UNSIGNED = 258, 339, 1
# Where pixels have two bytes, the reading order that takes the other byte.
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}


@dataclass(frozen=True)
class Depth:
    """The range that becomes 0 to 255.

    Args:
        low: the value that becomes 0.
        high: the value that becomes 255.
    """

    low: int
    high: int

    def bytes_of(self, values: np.ndarray) -> np.ndarray:
        """Whole numbers of any shape as uint8; what lies outside the range becomes 0 or 255."""
        kind = np.iinfo(values.dtype)
        inside = values.clip(max(self.low, kind.min), min(self.high, kind.max))
        bits = self.high.bit_length()
        if self.low == 0 and self.high == 2**bits - 1 and bits >= 8:
            return (inside >> (bits - 8)).astype(np.uint8)
        span = max(self.high - self.low, 1)
        return np.rint((inside.astype(np.float64) - self.low) * (255 / span)).astype(np.uint8)


def depth_of(lowest: int, highest: int) -> Depth:
    """The range for values between two: from 0 to the largest value of as many bits as are in use.

    With negative values there is no such number of bits: the range is that of the values.
    """
    if lowest < 0:
        return Depth(lowest, max(highest, 0))
    return Depth(0, 2 ** max(highest.bit_length(), 1) - 1)


def is_deep(image: Image.Image) -> bool:
    """The picture, which need not be loaded, has more than 8 bits per channel and no fractions."""
    return image.mode.startswith("I") or _other_tiles(image) is not None


def deep_values(image: Image.Image, reopen: Callable[[], ImageFile]) -> tuple[np.ndarray, np.ndarray | None]:
    """All bits of a deep picture; Pillow itself keeps the upper byte of coloured ones.

    Args:
        image: opened; where it is coloured, not loaded before.
        reopen: opens the same file again.

    Returns:
        Whole numbers (H, W) or (H, W, 3), and the alpha channel, uint8 (H, W), where there is one.
    """
    tiles = _other_tiles(image)
    if tiles is None or not isinstance(image, ImageFile):
        return grey_values(image), None
    if image.tile[0].args == _LUMINANCE_ALPHA:
        # Four bytes of a pixel, read as if they were four channels.
        image.tile = tiles
        four = np.asarray(image)
        return four[..., 0] * np.uint16(256) + four[..., 1], four[..., 2]
    with reopen() as second:
        second.tile = tiles
        low, high = np.asarray(second), np.asarray(image)
    return high[..., :3] * np.uint16(256) + low[..., :3], high[..., 3] if high.shape[2] == 4 else None


def grey_values(image: Image.Image) -> np.ndarray:
    """The values (H, W) of a grey picture of 16 or 32 bits."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    # Pillow takes all values of 32 bits for signed ones.
    if tags.get(_TIFF_BITS) == (32,) and tags.get(_TIFF_SAMPLE_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,):
        values = values.view(np.uint32)
    return values


def _other_tiles(image: Image.Image) -> list[Any] | None:
    """Tiles for the lower bytes of a picture with 16 bits per colour; None where it has 8, or is grey."""
    found = []
    for tile in image.tile if isinstance(image, ImageFile) else ():
        words = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        raw = words[0] if words else None
        if not isinstance(raw, str) or image.mode not in ("RGB", "RGBA"):
            return None
        kind, _, order = raw.partition(";")
        if raw == _LUMINANCE_ALPHA:
            other = "RGBA"
        elif kind in ("RGB", "RGBA", "RGBX") and order in _OTHER_BYTE:
            other = f"{kind};{_OTHER_BYTE[order]}"
        else:
            return None
        found.append(tile._replace(args=(other, *words[1:]) if isinstance(tile.args, tuple) else other))
    return found or None
