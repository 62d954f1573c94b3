"""Image files of any kind become squares of RGB bytes."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from sla_bench.datasets.base import Fit
from sla_bench.errors import UserError

EXTENSIONS = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".jfif",
        ".jpe",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
    }
)
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Pillow knows others, for some of which it starts a program (EPS)."""
_LONGEST_SIDE = 65_535
"""Pixels; the most that a JPEG has."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, MemoryError,
    AttributeError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def list_images(folder: Path) -> list[Path]:
    """Image files directly in a folder, by name; known by their extension, hidden ones left out.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if not entry.name.startswith(".")
                and os.path.splitext(entry.name)[1].lower() in EXTENSIONS  # noqa: PTH122 - 60,000 times
                and entry.is_file()
            ]
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}") from None
    return [folder / name for name in sorted(names)]


def list_folders(folder: Path) -> list[Path]:
    """Folders directly in a folder, by name, hidden ones left out.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if not e.name.startswith((".", "__")) and e.is_dir()]
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}") from None
    return [folder / name for name in sorted(names)]


def decode(image: Path | bytes, size: int, fit: Fit, name: str) -> np.ndarray:
    """Read one image.

    Grey and palette images become RGB, transparent ones lie on white, 16-bit ones keep their upper byte,
    photos are turned upright as their camera noted it.

    Args:
        image: a file or its content.
        size: height = width of the result in pixels.
        fit: "crop" scales the shorter side to `size` and cuts out the centre; "inner" scales it to 8/7 of
            `size` (256 for 224) and cuts out the centre; "stretch" scales both sides.
        name: for the message.

    Returns:
        uint8 (size, size, 3).

    Raises:
        UserError: not an image, truncated, or so large that it must be a mistake or an attack.
    """
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=_FORMATS) as opened:
            _check_pixels(opened, name)
            if fit != "stretch":
                opened.draft("RGB", (2 * size, 2 * size))
            # Pillow turns a TIFF while it loads it, and then takes its tag away.
            opened.load()
            turn = _TURNS.get(_orientation(opened))
            upright = _resized(as_rgb(opened), size, fit)
            if turn is not None:
                upright = upright.transpose(turn)
            return np.asarray(upright, dtype=np.uint8)
    except _UNREADABLE as error:
        raise UserError(f"cannot read the image {name}: {error or type(error).__name__}") from None


def _check_pixels(image: Image.Image, name: str) -> None:
    limit = Image.MAX_IMAGE_PIXELS or 2**27
    if max(image.size) > _LONGEST_SIDE:
        raise UserError(
            f"the image {name} is {image.width} x {image.height}, {_LONGEST_SIDE:,} are allowed on a side"
        )
    if image.width * image.height > limit:
        raise UserError(f"the image {name} has {image.width} x {image.height} pixels, {limit:,} are allowed")


def _orientation(image: Image.Image) -> int:
    try:
        orientation: int = image.getexif().get(_ORIENTATION, 1)
        return orientation
    except _UNREADABLE:
        return 1  # a broken note of the camera does not spoil the picture


def as_rgb(image: Image.Image) -> Image.Image:
    """The image with three channels of 8 bits: transparent ones on white, 16-bit ones by their upper byte.

    Raises:
        ValueError: its pixels are fractions.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("pixels are fractions; save it with 8 bits per channel")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _resized(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    if image.size == (size, size) and fit != "inner":
        return image
    if fit == "stretch":
        return image.resize((size, size), Image.Resampling.LANCZOS)
    side = min(image.size) * (7 / 8 if fit == "inner" else 1)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
