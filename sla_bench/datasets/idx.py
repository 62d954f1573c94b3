"""The idx format of MNIST and its kin: a big-endian header, then unsigned bytes; usually gzipped."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from sla_bench.datasets.restricted_pickle import what_is_wrong
from sla_bench.errors import UserError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, ndim: int) -> tuple[np.ndarray, str]:
    """Read an idx file of unsigned bytes, gzipped if its name ends in `.gz`.

    Args:
        path: the file.
        ndim: number of dimensions it must have: 3 for images, 1 for labels.

    Returns:
        The array (read-only), and the SHA-256 of the unpacked content. That of the packed file would depend
        on the time stamp in its header, which distributions rewrite.

    Raises:
        UserError: missing, truncated, damaged, or another kind of file.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is {what_is_wrong(path)}; fetch it again ({error})") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    header = 4 + 4 * ndim
    if len(content) < header or content[:4] != bytes((0, 0, _UNSIGNED_BYTE, ndim)):
        raise UserError(f"{path} is no idx file of unsigned bytes with {ndim} dimensions; fetch it again")
    shape = struct.unpack(f">{ndim}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise UserError(
            f"{path} is truncated or damaged: {math.prod(shape)} bytes announced, "
            f"{len(content) - header} found"
        )
    array = np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    return array, hashlib.sha256(content).hexdigest()
