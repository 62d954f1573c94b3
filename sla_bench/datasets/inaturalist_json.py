"""Annotations of the iNaturalist competitions: JSON with images, and the category of each of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.datasets.image_lists import ImageList, check_inside
from sla_bench.errors import UserError


def read_annotations(file: Path) -> ImageList:
    """Read `train2018.json` or `val2018.json`: paths of the images, and their categories as labels.

    Raises:
        UserError: no JSON, a key that is missing, a path that leaves the folder, or images and annotations
            that do not belong together one to one.
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {file}: {error}; fetch it again") from None
    labels: dict[Any, int] = {}
    for number, entry in enumerate(_entries(content, "annotations", file), start=1):
        image, category = _value(entry, "image_id", number, "annotation", file), entry.get("category_id")
        if not isinstance(category, int) or isinstance(category, bool) or not 0 <= category < 10**9:
            raise UserError(
                f"annotation {number} of {file} must have a 'category_id' from 0 on, found {category!r}"
            )
        if labels.setdefault(image, category) != category:
            raise UserError(f"annotation {number} of {file} gives image {image} a second category")
    paths: dict[str, int] = {}
    numbers = []
    for number, entry in enumerate(_entries(content, "images", file), start=1):
        path, image = (_value(entry, key, number, "image", file) for key in ("file_name", "id"))
        check_inside(str(path), f"image {number} of {file}")
        if image not in labels:
            raise UserError(f"image {number} of {file} ({path}) has no annotation")
        if path in paths:
            raise UserError(f"image {number} of {file} is {path}, as another is")
        paths[path] = labels.pop(image)
        numbers.append(number)
    if labels:
        raise UserError(
            f"{file} annotates {len(labels):,} images that it does not list, {next(iter(labels))} for example"
        )
    return ImageList(
        file, tuple(paths), np.fromiter(paths.values(), np.int64, len(paths)), tuple(numbers), unit="image"
    )


def _entries(content: Any, key: str, file: Path) -> list[Any]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        names = list(map(str, content))[:10] if isinstance(content, dict) else [type(content).__name__]
        found = ", ".join(names)
        raise UserError(f"{file} must have a list {key!r} that is not empty; found {found or 'nothing'}")
    return entries


def _value(entry: Any, key: str, number: int, what: str, file: Path) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    # Python hashes whole numbers modulo a known prime: large ones can be made to collide.
    if not isinstance(value, str | int) or value == "" or (isinstance(value, int) and abs(value) >= 1 << 60):
        raise UserError(f"{what} {number} of {file} has no {key!r}")
    return value
