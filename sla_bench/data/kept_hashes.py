"""Checksums of images, kept so that pixels are read for them once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sla_bench.data.base import LabeledImages, checksum_of
from sla_bench.data.kept import fingerprint_of, keep, stamps_in, states_of
from sla_bench.data.prepared import open_map, read_description
from sla_bench.data.sources import selected_blocks

HASHES = ".hashes"
"""Ending of the file of hashes beside a map."""
_READING = 1  # counts up when the same files would become other images


def kept_checksum(
    folder: Path, name: str, labels: np.ndarray, class_names: tuple[str, ...], index: np.ndarray | None = None
) -> str | None:
    """Return the checksum of a part of a map; pixels are read for it once.

    It is kept in `NAME.hashes` beside the map, under a key of all that determines it: the hash of the map's
    pixels, the positions, labels and class names. Where nothing can be written there, it is not kept.

    Args:
        folder: of the map.
        name: of the map.
        labels: int64 (n,), of the part.
        class_names: of the part.
        index: int64 (n,), positions of the part in the map; None: all.

    Returns:
        `LabeledImages.checksum` of the part; None where there is no complete map.

    Raises:
        UserError: the map or its description is damaged.
    """
    description = read_description(folder, name)
    if description is None:
        return None
    shape = (len(labels), *description.shape[1:])
    key = hashlib.sha256(repr((description.sha256, class_names, shape)).encode())
    for numbers in (labels, index):
        key.update(b"-" if numbers is None else np.ascontiguousarray(numbers).tobytes())
    path, digits = folder / f"{name}{HASHES}", key.hexdigest()[:32]
    known = _read(path).get(digits)
    if known is None:
        prepared = open_map(folder, name)
        if prepared is None:
            return None
        positions = np.arange(shape[0]) if index is None else index
        blocks = selected_blocks(prepared.images, positions)()
        known = checksum_of(class_names, shape, labels, blocks)
        _add(path, digits, known)
    return known


def checksum_of_map(images: LabeledImages) -> str:
    """The checksum of images, kept beside their map where they are all of one."""
    path = getattr(images.images, "filename", None)
    kept = None
    if path is not None:
        kept = kept_checksum(Path(path).parent, Path(path).stem, images.labels, images.class_names)
    return kept or images.checksum


def checksum_of_files(path: Path, files: Sequence[Path], of: object, work_out: Callable[[], str]) -> str:
    """Return the checksum of images that are read from files; they are read once for each state of the files.

    Args:
        path: of the file that keeps it.
        files: all that determine the images, besides the folder of `path`.
        of: what is read of them; `repr` tells other parts apart.
        work_out: returns the checksum.
    """
    key = _key_of_files(files, of)
    known = _read(path).get(key)
    if known is None:
        known = work_out()
        if _key_of_files(files, of) == key:
            _add(path, key, known)
    return known


def _key_of_files(files: Sequence[Path], of: object) -> str:
    states = states_of(files)
    key = hashlib.sha256(repr((_READING, of, fingerprint_of(map(str, files), states))).encode())
    key.update(stamps_in(states).tobytes())
    return key.hexdigest()[:32]


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
        return {str(key): str(value) for key, value in content.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _add(path: Path, key: str, checksum: str) -> None:
    content = json.dumps({**_read(path), key: checksum}).encode()
    keep(path, lambda file: file.write(content))
