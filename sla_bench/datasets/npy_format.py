"""The `.npy` format as strangers write it: arrays of numbers, whose header is believed only after a check."""

from __future__ import annotations

import math
import tokenize
from pathlib import Path
from typing import IO

import numpy as np

_MOST_DIMENSIONS = 32
_LONGEST_HEADER = 10_000
# NumPy evaluates the header as a Python literal: what that raises is not only ValueError.
_BAD_HEADER = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, SyntaxError, OverflowError, RecursionError,
    MemoryError, tokenize.TokenError,
)  # fmt: skip


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the head of a `.npy` file.

    Args:
        file: at its beginning; afterwards at the first number.

    Returns:
        Shape, whether columns come first, and the type: bool, whole, fractional or complex numbers.

    Raises:
        ValueError: no such file, or an array of anything else than numbers.
        OSError: unreadable.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format {version[0]}.{version[1]} of .npy files is not read")
        reader = np.lib.format.read_array_header_1_0
        if version == (2, 0):
            reader = np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(file, max_header_size=_LONGEST_HEADER)
    except _BAD_HEADER as error:
        raise ValueError(f"no .npy file: {str(error)[:200]}") from None
    if dtype.kind not in "biufc" or dtype.subdtype is not None:
        raise ValueError(f"an array of type {str(dtype)[:80]}, not of numbers")
    if len(shape) > _MOST_DIMENSIONS or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
        raise ValueError("a shape that no array has")
    return shape, fortran, dtype


def read_array(file: IO[bytes], num_bytes: int) -> np.ndarray:
    """Read a whole `.npy` file.

    Args:
        file: at its beginning.
        num_bytes: of the file. An array that needs more, or fewer, is refused before memory is taken.

    Returns:
        The array, of any shape.

    Raises:
        ValueError: as `read_header`, or of another size than the header says.
        OSError: unreadable.
    """
    shape, fortran, dtype = read_header(file)
    size = math.prod(shape) * dtype.itemsize
    if size != num_bytes - file.tell():
        raise ValueError("an array of another size than it says")
    raw = file.read(size)
    if len(raw) != size:
        raise ValueError("the array ends too early")
    flat = np.frombuffer(raw, dtype) if raw else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def load_npy(path: Path) -> np.ndarray:
    """Read a whole `.npy` file from disk; see `read_array`.

    Raises:
        ValueError: no such file, or an array of anything else than numbers.
        OSError: unreadable.
    """
    with path.open("rb") as file:
        return read_array(file, path.stat().st_size)
