"""A picture of a data set: some images beside each class's name."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sla_bench.data.base import LabeledImages

_TILE = 64
_GAP = 2
_PADDING = 12
_TEXT_HEIGHT = 14
_LONGEST_NAME = 44
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


def contact_sheet(images: LabeledImages, per_class: int = 8, max_classes: int = 100) -> Image.Image:
    """Draw a sheet with one row of images per class.

    The images of a class are taken at equal distances among all of it, and so are the classes where there are
    more than `max_classes`. Small images are enlarged by a whole factor, large ones reduced.

    Args:
        images: any data set; a memory map is read only where needed.
        per_class: images in a row.
        max_classes: rows.
    """
    classes = _spread(np.arange(images.num_classes), max_classes)
    font = ImageFont.load_default(size=_TEXT_HEIGHT)
    names = [_short(images.class_names[k]) for k in classes]
    height, width = _tile_size(*images.images.shape[1:3])
    name_width = math.ceil(max(font.getlength(name) for name in names)) + _PADDING
    column_width = name_width + per_class * (width + _GAP) + _PADDING
    row_height = max(height, _TEXT_HEIGHT) + _GAP
    columns = _columns(len(classes), column_width, row_height)
    rows = math.ceil(len(classes) / columns)
    top = _PADDING + _TEXT_HEIGHT + _PADDING
    size = (_PADDING + columns * column_width, top + rows * row_height + _PADDING)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    of = "" if len(classes) == images.num_classes else f"{len(classes)} of "
    pixels = " x ".join(map(str, images.images.shape[1:3]))
    title = f"{len(images):,} images, {pixels} pixels, {of}{images.num_classes} classes"
    draw.text((_PADDING, _PADDING), title, fill=_INK, font=font)

    # One pass over the labels, however many classes there are.
    order = np.argsort(images.labels, kind="stable")
    ends = np.cumsum(images.class_counts)
    for place, (k, name) in enumerate(zip(classes, names, strict=True)):
        x = _PADDING + (place // rows) * column_width
        y = top + (place % rows) * row_height
        draw.text((x, y + height / 2), name, fill=_INK, font=font, anchor="lm")
        members = order[ends[k] - images.class_counts[k] : ends[k]]
        for i, index in enumerate(_spread(members, per_class)):
            tile = Image.fromarray(np.ascontiguousarray(images.images[index]))
            resampling = Image.Resampling.BOX if tile.height > height else Image.Resampling.NEAREST
            sheet.paste(tile.resize((width, height), resampling), (x + name_width + i * (width + _GAP), y))
    return sheet


def _spread(items: np.ndarray, count: int) -> np.ndarray:
    return items if len(items) <= count else items[(np.arange(count) * len(items)) // count]


def _tile_size(height: int, width: int) -> tuple[int, int]:
    longest = max(height, width)
    if longest <= _TILE:
        factor = _TILE // longest
        return height * factor, width * factor
    if longest <= 2 * _TILE:
        return height, width
    return max(1, round(height * 2 * _TILE / longest)), max(1, round(width * 2 * _TILE / longest))


def _columns(rows: int, column_width: int, row_height: int) -> int:
    """As many columns as make the sheet about 4 wide to 3 high."""
    return max(1, min(rows, round(math.sqrt(rows * row_height * 4 / 3 / column_width))))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
