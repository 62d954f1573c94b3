"""Image files of any kind become squares of RGB bytes."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from sla_bench.data.base import Fit
from sla_bench.data.depth import Depth, deep_values, depth_of, grey_values, is_deep
from sla_bench.errors import UserError


class _Quiet:
    """Silences Pillow in all threads while one is inside: overlapping `catch_warnings` undo each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._outer = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._outer = warnings.catch_warnings()
                self._outer.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._outer.__exit__(None, None, None)


QUIET_PILLOW = _Quiet()


def resized(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """Scale and cut a picture, or lay it between bars.

    Args:
        image: RGB, of any size.
        size: height = width of the result in pixels.
        fit: see `images.decode`.

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


EXTENSIONS = frozenset((
    ".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
    ".pbm",
))  # fmt: skip
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Pillow knows others, for some of which it starts a program (EPS)."""
_LONGEST_SIDE = 65_535
"""Pixels; the most that a JPEG has."""
_MOST_PIXELS = 178_956_970
"""Beyond it Pillow itself refuses; phones make pictures of 108 million pixels."""
_LARGE = 1 << 26
"""Pixels of a picture that takes a gigabyte in between: one at a time in a process."""
_ONE_AT_A_TIME = threading.Lock()
_STRIP = 1 << 22
"""Pixels that are laid on white at a time."""
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
_NOTES = frozenset({"exif", "xmp", "XML:com.adobe.xmp"})
_ON_THEIR_SIDE = frozenset({5, 6, 7, 8})
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, MemoryError,
    AttributeError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def list_images(folder: Path) -> list[Path]:
    """Image files directly in a folder, by name; known by their extension, hidden ones left out.

    Raises:
        UserError: the folder cannot be read.
    """
    return _entries(
        folder,
        lambda entry: (
            not entry.name.startswith(".")
            and os.path.splitext(entry.name)[1].lower() in EXTENSIONS  # noqa: PTH122 - 60,000 times
            and entry.is_file()
        ),
    )


def list_folders(folder: Path) -> list[Path]:
    """Folders directly in a folder, by name, hidden ones left out.

    Raises:
        UserError: the folder cannot be read.
    """
    return _entries(folder, lambda entry: not entry.name.startswith((".", "__")) and entry.is_dir())


def _entries(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / name for name in sorted(entry.name for entry in entries if wanted(entry))]
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}") from None


def decode(
    image: Path | bytes | Image.Image, size: int, fit: Fit, name: str, depth: Depth | None = None
) -> np.ndarray:
    """Read one image.

    Grey and palette images become RGB, transparent ones lie on white, those of more than 8 bits are scaled,
    photos are turned upright as their camera noted it.

    Args:
        image: a file, its content, or a loaded image.
        size: height = width of the result in pixels.
        fit: "crop" scales the shorter side to `size` and cuts out the centre; "inner" scales it to 8/7 of
            `size` (256 for 224) and cuts out the centre; "pad" scales the longer side and adds bars in the
            mean colour of the edge beside them; "stretch" scales both sides.
        name: for the message.
        depth: the range of more than 8 bits that becomes 0 to 255; None: by the bits that the image uses.

    Returns:
        uint8 (size, size, 3).

    Raises:
        UserError: not an image, truncated, or so large that it must be a mistake or an attack.
    """
    with _opened(image, name) as opened:
        large = opened.width * opened.height > _LARGE
        with _ONE_AT_A_TIME if large else nullcontext():
            if fit != "stretch" or large:
                opened.draft("RGB", (2 * size, 2 * size))
            rgb = _as_rgb_of(opened, image, depth)
            # Pillow turns a TIFF while it loads it, and then takes its tag away.
            turn = _TURNS.get(_orientation(opened))
            upright = resized(rgb, size, fit)
            if turn is not None:
                upright = upright.transpose(turn)
            return np.asarray(upright, dtype=np.uint8)


def look_at(image: Path | bytes, name: str) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Size of an image, and the range of its values where it has more than 8 bits: only such are decoded.

    Args:
        image: a file or its content.
        name: for the message.

    Returns:
        Width and height as it is shown; the lowest and the highest value, or None.

    Raises:
        UserError: as `decode`.
    """
    with _opened(image, name) as opened:
        width, height = opened.size
        # A TIFF has its size upright; of other kinds without a note at the beginning Pillow would read all.
        noted = opened.format != "TIFF" and not _NOTES.isdisjoint(opened.info)
        if noted and _orientation(opened) in _ON_THEIR_SIDE:
            width, height = height, width
        if not is_deep(opened):
            return (width, height), None
        with _ONE_AT_A_TIME if width * height > _LARGE else nullcontext():
            values, alpha = deep_values(opened, lambda: _open(image))
        seen = values if alpha is None or not alpha.any() else values[alpha > 0]
        return (width, height), (int(seen.min()), int(seen.max()))


@contextmanager
def _opened(image: Path | bytes | Image.Image, name: str) -> Iterator[Image.Image]:
    """An image whose pixels are not read yet; whatever goes wrong with it is said in a sentence."""
    try:
        with QUIET_PILLOW, image.copy() if isinstance(image, Image.Image) else _open(image) as opened:
            _check_pixels(opened, name)
            yield opened
    except UNREADABLE as error:
        raise UserError(f"cannot read the image {name}: {error or type(error).__name__}") from None


def _open(image: Path | bytes) -> ImageFile:
    return Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=_FORMATS)


def _as_rgb_of(opened: Image.Image, image: Path | bytes | Image.Image, depth: Depth | None) -> Image.Image:
    if isinstance(image, Image.Image) or not is_deep(opened):
        opened.load()
        return as_rgb(opened, depth)
    values, alpha = deep_values(opened, lambda: _open(image))
    scaled = Image.fromarray(_shallow(values, depth))
    if alpha is not None:
        scaled.putalpha(Image.fromarray(alpha))
    return as_rgb(scaled)


def _shallow(values: np.ndarray, depth: Depth | None) -> np.ndarray:
    return (depth or depth_of(int(values.min()), int(values.max()))).bytes_of(values)


def _check_pixels(image: Image.Image, name: str) -> None:
    if max(image.size) > _LONGEST_SIDE:
        raise UserError(
            f"the image {name} is {image.width} x {image.height}, {_LONGEST_SIDE:,} are allowed on a side"
        )
    if image.width * image.height > _MOST_PIXELS:
        raise UserError(
            f"the image {name} has {image.width} x {image.height} pixels, {_MOST_PIXELS:,} are allowed; "
            "save it smaller"
        )


def _orientation(image: Image.Image) -> int:
    try:
        orientation: int = image.getexif().get(_ORIENTATION, 1)
        return orientation
    except UNREADABLE:
        return 1  # a broken note of the camera does not spoil the picture


def as_rgb(image: Image.Image, depth: Depth | None = None) -> Image.Image:
    """The image with three channels of 8 bits: transparent ones on white, grey ones of more bits scaled.

    Args:
        image: of any mode.
        depth: as in `decode`.

    Raises:
        ValueError: its pixels are fractions.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return Image.fromarray(_shallow(grey_values(image), depth)).convert("RGB")
    if image.mode == "F":
        raise ValueError("pixels are fractions; save it with 8 or 16 bits per channel")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """In strips: three copies of a large picture are gigabytes."""
    result = Image.new("RGB", image.size)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return result
