"""Arrays in the `.npy` format, size-checked before memory is taken."""

from __future__ import annotations

import math
import tokenize
from pathlib import Path
from typing import IO

import numpy as np

_LONGEST_HEADER = 10_000
# NumPy evaluates the header as a Python literal, which raises more than ValueError.
_BAD_HEADER = (
    ValueError, TypeError, KeyError, SyntaxError, OverflowError, RecursionError, MemoryError,
    tokenize.TokenError,
)  # fmt: skip


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the head of a `.npy` file.

    Args:
        file: at its beginning; afterwards at the first number.

    Returns:
        Shape, whether columns come first, and the type: bool, whole, fractional or complex numbers.

    Raises:
        ValueError: not such a file, or an array of anything else than numbers.
        OSError: unreadable.
    """
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = read[version](file, max_header_size=_LONGEST_HEADER)
    except _BAD_HEADER as error:
        raise ValueError(f"not a .npy file: {str(error)[:200]}") from None
    if dtype.kind not in "biufc":
        raise ValueError(f"an array of type {str(dtype)[:80]}, not of numbers")
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
