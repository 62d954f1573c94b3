"""The array files of few-shot learning: MetaOptNet's category pickles and `.npz` archives."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from sla_bench.data.base import Split
from sla_bench.data.class_lists import SPLITS, check_classes, split_with
from sla_bench.data.npy_format import read_header
from sla_bench.data.restricted_pickle import load_pickle, text_keys, what_is_wrong
from sla_bench.data.sources import (
    BLOCK,
    Promise,
    SplitSource,
    array_blocks,
    as_images,
    as_int_vector,
    relabel,
)
from sla_bench.errors import UserError

_BROKEN_ARCHIVE = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, OSError, RuntimeError, struct.error,
)  # fmt: skip


def load_dict(path: Path, *keys: str) -> dict[str, Any]:
    """Read a pickled dict that must have the given keys.

    Raises:
        UserError: damaged, no dict, or a key is missing.
    """
    content = load_pickle(path)
    try:
        content = text_keys(content)
    except TypeError as error:
        raise UserError(f"{path} must hold a dict with {', '.join(map(repr, keys))}: {error}") from None
    absent = [key for key in keys if key not in content]
    if absent:
        raise UserError(f"{path} has no {absent[0]!r}; found {', '.join(sorted(content)) or 'nothing'}")
    return content


def read_category_pickle(
    path: Path,
    siblings: dict[Split, Path],
    split: Split,
    promise: Promise,
    known: dict[Split, tuple[int, ...]],
    names: tuple[str, ...] = (),
) -> SplitSource:
    """Read `{'data': uint8 (N, H, W, 3), 'labels': N integers}` as MetaOptNet's loaders do.

    Labels may be any integers and need not restart at 0; the splits' labels must be disjoint.

    Args:
        path: the pickle, usually written by Python 2.
        siblings: the pickles of all splits that are there.
        split: which split it should be.
        promise: what is checked.
        known: the labels of each split where they are the original ones.
        names: names of the original labels.

    Raises:
        UserError: damaged, altered, or swapped with another split's file.
    """
    content = load_dict(path, "data", "labels")
    images = as_images(content["data"], str(path))
    raw = as_int_vector(content["labels"], str(path))
    labels, values = relabel(raw)
    found = frozenset(values)
    other = split_with(found, known)
    if other is not None and other != split:
        check_classes(found, split, known, str(path))
    class_names = tuple(names[v] if other and names else f"class {v}" for v in values)
    promise.check(images.shape, labels, class_names, str(path))
    _check_disjoint(path, found, siblings, split)
    return SplitSource(images.shape, labels, class_names, array_blocks(images))


def _check_disjoint(path: Path, found: frozenset[int], siblings: dict[Split, Path], split: Split) -> None:
    for other in SPLITS:
        sibling = siblings.get(other)
        if other == split or sibling is None or not sibling.exists():
            continue
        status = sibling.stat()
        shared = found & _label_values(sibling, status.st_size, status.st_mtime_ns)
        if shared:
            raise UserError(
                f"{path} and {sibling} share {len(shared)} classes (label {min(shared)}, for example): one "
                f"of them is not what its name says; fetch it again"
            )


@lru_cache(maxsize=8)
def _label_values(path: Path, size: int, mtime_ns: int) -> frozenset[int]:
    del size, mtime_ns  # part of the key: another file under the same name is read again
    return frozenset(np.unique(as_int_vector(load_dict(path, "labels")["labels"], str(path))).tolist())


@contextmanager
def _open_member(path: Path, key: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], bool, np.dtype]]:
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{key}.npy")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("packed in an unusual way")
            with archive.open(member) as file:
                yield (file, *read_header(file))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except _BROKEN_ARCHIVE as error:
        if isinstance(error, KeyError):
            raise UserError(f"{path} has no array {key!r}") from None
        raise UserError(f"{path} is {what_is_wrong(path)}; fetch it again ({error})") from None


def npz_images(
    path: Path, key: str, reverse_channels: bool = False
) -> tuple[tuple[int, int, int, int], Callable[[], Iterator[np.ndarray]]]:
    """Images out of an `.npz` archive, streamed: its 9 GB are never in memory as a whole.

    Args:
        path: the archive; its CRC-32 is checked when the last block was read.
        key: name of the array, uint8 (N, H, W, 3).
        reverse_channels: it is stored as blue, green, red.

    Returns:
        The shape, and a function that starts reading.

    Raises:
        UserError: damaged, or not an array of images; also while reading.
    """
    with _open_member(path, key) as (_, shape, fortran, dtype):
        if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or fortran:
            raise UserError(f"{path}: {key!r} must be uint8 (N, H, W, 3), found {dtype} {shape}")

    def blocks() -> Iterator[np.ndarray]:
        image_bytes = int(np.prod(shape[1:]))
        with _open_member(path, key) as (file, *_):
            for start in range(0, shape[0], BLOCK):
                count = min(BLOCK, shape[0] - start)
                raw = file.read(count * image_bytes)
                if len(raw) != count * image_bytes:
                    raise EOFError("the array ends too early")
                block = np.frombuffer(raw, np.uint8).reshape(count, *shape[1:])
                yield block[..., ::-1] if reverse_channels else block
            if file.read(1):
                raise EOFError("the array is longer than its header says")

    return (shape[0], shape[1], shape[2], 3), blocks
