"""The idx format of MNIST: a big-endian header, then unsigned bytes."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sla_bench.data.restricted_pickle import what_is_wrong
from sla_bench.errors import UserError

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
        with _opened(path) as file:
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


def _opened(path: Path) -> gzip.GzipFile | BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _shape(header: bytes, ndim: int, path: Path) -> tuple[int, ...]:
    if len(header) < 4 + 4 * ndim or header[:4] != bytes((0, 0, _UNSIGNED_BYTE, ndim)):
        raise UserError(f"{path} is no idx file of unsigned bytes with {ndim} dimensions; fetch it again")
    shape = struct.unpack(f">{ndim}I", header[4:])
    if math.prod(shape) > LARGEST:
        raise UserError(f"{path} announces {math.prod(shape):,} bytes, at most {LARGEST:,} are read")
    return shape
