"""Fingerprints of files, and hashes of images, kept beside them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sla_bench.data.base import LabeledImages, checksum_of
from sla_bench.data.prepared import open_map, read_description
from sla_bench.data.sources import array_blocks
from sla_bench.errors import UserError
from sla_bench.words import names_below

HASHES = ".hashes"
"""Ending of the file of hashes beside a map."""
_READING = 2  # counts up when the same files would become other images


def file_digest(path: Path, algorithm: str) -> str:
    """Hex digest of a file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def fingerprint(paths: Iterable[Path], base: Path) -> str:
    """16 hex digits that change when a file is renamed, written, replaced, added or removed.

    It covers name and time of change, of files also the size and the inode's time of change, which no program
    sets back.

    Raises:
        UserError: a file is gone.
    """
    paths = list(paths)
    digest = hashlib.sha256()
    try:
        states = [os.stat(path) for path in paths]  # noqa: PTH116 - 60,000 times
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None
    for name, state in zip(names_below(paths, base), states, strict=True):
        # Names that are not UTF-8, as of old archives, are bytes all the same.
        digest.update(os.fsencode(name))
        of_file = () if stat.S_ISDIR(state.st_mode) else (state.st_size, state.st_ctime_ns)
        digest.update(repr((state.st_mtime_ns, *of_file)).encode())
    return digest.hexdigest()[:16]


def keep(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, whole or not at all; nothing is kept where nothing can be written.

    Args:
        path: the file; its folder is made.
        write: gets the open binary file.
    """
    # `datasets clear` deletes what a killed process leaves: .NAME.part
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                write(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def kept_checksum(
    folder: Path, name: str, labels: np.ndarray, class_names: tuple[str, ...], index: np.ndarray | None = None
) -> str | None:
    """Return the checksum of a part of a map; pixels are read for it once.

    It is kept in `NAME.hashes` beside the map, under a key of all that determines it: the hash of the map's
    pixels, the positions, labels and class names.

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
        images = open_map(folder, name)
        if images is None:
            return None
        known = checksum_of(class_names, shape, labels, array_blocks(images.images, index)())
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

    def key() -> str:
        return hashlib.sha256(repr((_READING, of, fingerprint(files, Path()))).encode()).hexdigest()[:32]

    before = key()
    known = _read(path).get(before)
    if known is None:
        known = work_out()
        if key() == before:
            _add(path, before, known)
    return known


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
        return {str(key): str(value) for key, value in content.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _add(path: Path, key: str, checksum: str) -> None:
    content = json.dumps({**_read(path), key: checksum}).encode()
    keep(path, lambda file: file.write(content))
