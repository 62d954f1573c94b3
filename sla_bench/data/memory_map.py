"""Converted images: one `.npy` file per split, opened as a memory map."""

# A map is complete or absent: the description beside the pixels (`.json`), without which they are not used,
# is written last (`map_writing.py`).

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sla_bench.data.base import LabeledImages
from sla_bench.data.checksums import Status
from sla_bench.errors import UserError

FORMAT = 2
"""Counts up when maps are written otherwise, or the same files would become other pixels."""


@dataclass(frozen=True)
class MapDescription:
    """What stands beside a map.

    Args:
        shape: (N, H, W, 3).
        labels: N values 0..C-1.
        class_names: C names.
        grey: the three channels of every image are equal.
        sha256: of the pixels, without the header of their file.
        layout: name of the layout that was converted.
        source: folder that was converted.
        fingerprint: of the files in it, as `checksums.fingerprint`.
        left_out: images that could not be decoded, by their path below `source`.
    """

    shape: list[int]
    labels: list[int]
    class_names: list[str]
    grey: bool
    sha256: str
    layout: str
    source: str
    fingerprint: str
    left_out: list[str] = field(default_factory=list)


def map_path(folder: Path, name: str) -> Path:
    """Where the pixels of a map lie."""
    return folder / f"{name}.npy"


def read_description(folder: Path, name: str) -> MapDescription | None:
    """The description of a map; None where there is no complete map of this format.

    Raises:
        UserError: the description is there and cannot be read.
    """
    path = folder / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            return None
        description = MapDescription(**content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} is damaged; delete {folder} and prepare the data set again") from None
    return description if map_path(folder, name).is_file() else None


def description_or_none(folder: Path, name: str) -> MapDescription | None:
    """The description of a map; None where there is none that can be read."""
    try:
        return read_description(folder, name)
    except UserError:
        return None


def open_map(folder: Path, name: str) -> LabeledImages | None:
    """Open a map; changes to the images stay in memory. None where there is no complete map.

    Raises:
        UserError: the pixels do not fit their description.
    """
    description = read_description(folder, name)
    if description is None:
        return None
    path = map_path(folder, name)
    try:
        images = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is damaged; delete it and prepare the data set again ({error})") from None
    if list(images.shape) != description.shape or images.dtype != np.uint8:
        raise UserError(f"{path} does not fit its description; delete it and prepare the data set again")
    labels = np.asarray(description.labels, dtype=np.int64)
    return LabeledImages(images, labels, tuple(description.class_names), grey=description.grey)


def remove_map(folder: Path, name: str) -> None:
    """Let a map be made again: its description goes, and the pixels are replaced when the next is complete.

    Raises:
        UserError: the folder can't be written.
    """
    path = folder / f"{name}.json"
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot delete {path}, though the files that its map was made of have changed "
            f"({error.strerror or error}); --data-root must name a folder that can be written"
        ) from None


def verify_map(folder: Path, name: str) -> Status:
    """Compare the pixels with the checksum that was taken when they were written."""
    try:
        description = read_description(folder, name)
        same = description is not None and _pixels_digest(map_path(folder, name)) == description.sha256
        return "ok" if same else "bad"
    except (UserError, OSError, ValueError):
        return "bad"


def _pixels_digest(path: Path) -> str:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return hashlib.file_digest(file, "sha256").hexdigest()
