"""Checksums of prepared images and their parts, kept beside the map."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np

from sla_bench.datasets.base import LabeledImages, checksum_of
from sla_bench.datasets.memory_map import open_map, read_description
from sla_bench.datasets.sources import selected_blocks


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
    path, digits = folder / f"{name}.hashes", key.hexdigest()[:32]
    known = _read(path)
    if digits not in known:
        prepared = open_map(folder, name)
        if prepared is None:
            return None
        positions = np.arange(shape[0]) if index is None else index
        blocks = selected_blocks(prepared.images, positions)()
        known = {**_read(path), digits: checksum_of(class_names, shape, labels, blocks)}
        _write(path, known)
    return known[digits]


def checksum_of_map(images: LabeledImages) -> str:
    """The checksum of images, kept beside their map where they are all of one."""
    path = getattr(images.images, "filename", None)
    kept = None
    if path is not None:
        kept = kept_checksum(Path(path).parent, Path(path).stem, images.labels, images.class_names)
    return kept or images.checksum


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
        return {str(key): str(value) for key, value in content.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _write(path: Path, known: dict[str, str]) -> None:
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=path.parent, prefix=".hashes") as own:
        temporary = Path(own) / path.name
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(path)
