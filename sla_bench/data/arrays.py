"""Arrays in .npy, .npz and idx files, size-checked before memory is taken."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from sla_bench.data.pickles import what_is_wrong
from sla_bench.data.sources import BLOCK
from sla_bench.errors import UserError

_LONGEST_HEADER = 10_000
# NumPy evaluates the header as a Python literal, which raises more than ValueError.
_BAD_HEADER = (
    ValueError, TypeError, KeyError, SyntaxError, OverflowError, RecursionError, MemoryError,
    tokenize.TokenError,
)  # fmt: skip


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type (numbers only) from the head of a `.npy` file."""
    start = file.read(_VERSION_BYTES + 2)
    length = start[_VERSION_BYTES:]
    if start[6:_VERSION_BYTES] == b"\2\0":
        length += file.read(2)
    number = int.from_bytes(length, "little")
    if number > _LONGEST_HEADER:
        raise ValueError(f"not a .npy file: a header of {number:,} bytes")
    return _parsed(start[:_VERSION_BYTES] + length + file.read(number))


_VERSION_BYTES = 8


@functools.lru_cache(maxsize=256)
def _parsed(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """As `_read_header`; thousands of files share a header, which NumPy reads as a literal of Python."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    file = io.BytesIO(header)
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = read[version](file, max_header_size=_LONGEST_HEADER)
    except _BAD_HEADER as error:
        raise ValueError(f"not a .npy file: {str(error)[:200]}") from None
    if dtype.kind not in "biufc":
        raise ValueError(f"an array of type {str(dtype)[:80]}, not of numbers")
    return shape, fortran, dtype


def read_array(file: IO[bytes], num_bytes: int) -> np.ndarray:
    """Read a whole `.npy` file of numbers, of any shape.

    Args:
        file: at its beginning.
        num_bytes: of the file. An array that needs more, or fewer, is refused before memory is taken.

    Raises:
        ValueError: not such a file, an array of anything else than numbers, or of another size than its head
            says.
        OSError: unreadable.
    """
    shape, fortran, dtype = _read_header(file)
    size = math.prod(shape) * dtype.itemsize
    raw = file.read(size) if min(shape, default=0) >= 0 and size == num_bytes - file.tell() else b""
    if len(raw) != size:
        raise ValueError("an array of another size than it says")
    flat = np.frombuffer(raw, dtype) if raw else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def load_npy(path: Path) -> np.ndarray:
    """Read a whole `.npy` file from disk; see `read_array`.

    Raises:
        ValueError: as `read_array`.
        OSError: unreadable.
    """
    with path.open("rb") as file:
        return read_array(file, path.stat().st_size)


_BROKEN_ARCHIVE = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, OSError, RuntimeError, struct.error,
)  # fmt: skip


@contextmanager
def _open_member(path: Path, key: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], bool, np.dtype]]:
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{key}.npy")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("packed in an unusual way")
            with archive.open(member) as file:
                yield (file, *_read_header(file))
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


LARGEST = 1 << 28
"""Bytes, unpacked; Fashion-MNIST has 47 million."""
_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, ndim: int) -> tuple[np.ndarray, str]:
    """Read an idx file of unsigned bytes, gzipped if its name ends in `.gz`.

    Args:
        path: the file.
        ndim: number of dimensions it must have: 3 for images, 1 for labels.

    Returns:
        The array (read-only), uint8 (N, H, W) of images or (N,) of labels, and the SHA-256 of the unpacked
        content. That of the packed file would depend on the time stamp in its header, which distributions
        rewrite.

    Raises:
        UserError: missing, truncated, damaged, too large, or another kind of file.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * ndim)
            shape = _shape(header, ndim, path)
            # One byte more than announced; that also makes gzip compare its checksum at the end.
            pixels = file.read(math.prod(shape) + 1)
    except (EOFError, MemoryError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is {what_is_wrong(path)}; fetch it again ({error})") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    if len(pixels) != math.prod(shape):
        found = len(pixels) if len(pixels) < math.prod(shape) else "more"
        raise UserError(f"{path} is truncated or damaged: {math.prod(shape)} bytes announced, {found} found")
    digest = hashlib.sha256(header)
    digest.update(pixels)
    return np.frombuffer(pixels, np.uint8).reshape(shape), digest.hexdigest()


def _shape(header: bytes, ndim: int, path: Path) -> tuple[int, ...]:
    if len(header) < 4 + 4 * ndim or header[:4] != bytes((0, 0, _UNSIGNED_BYTE, ndim)):
        raise UserError(f"{path} is not an idx file of unsigned bytes with {ndim} dimensions; fetch it again")
    shape = struct.unpack(f">{ndim}I", header[4:])
    if math.prod(shape) > LARGEST:
        raise UserError(f"{path} announces {math.prod(shape):,} bytes, at most {LARGEST:,} are read")
    return shape
