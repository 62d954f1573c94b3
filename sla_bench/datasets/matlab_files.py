"""MATLAB files (5 to 7) as strangers write them: looked through before scipy believes their sizes."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sla_bench.errors import UserError

LARGEST = 1 << 26
"""Bytes of all variables of a file, unpacked."""
MOST_ARRAYS = 1_000_000
"""Cells and fields of all variables; each is an array of its own."""
_DEEPEST = 8
_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = range(6, 16)
_UNREADABLE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, MemoryError, OverflowError,
    NotImplementedError, RecursionError, AssertionError, zlib.error, struct.error,
)  # fmt: skip


def load_mat(path: Path) -> dict[str, np.ndarray]:
    """The variables of a MATLAB file, without dimensions of length 1.

    Raises:
        UserError: unreadable, damaged, of version 4 or 7.3, or with variables that are no numbers, texts,
            cells or structs.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        unpacked = _unpacked(path.read_bytes())
        content: dict[str, Any] = loadmat(io.BytesIO(unpacked), squeeze_me=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (MatReadError, *_UNREADABLE) as error:
        raise UserError(f"cannot read {path}: {error}; fetch it again") from None
    return {name: value for name, value in content.items() if not name.startswith("__")}


class _Element(NamedTuple):
    kind: int
    start: int
    stop: int


class _Walk:
    """Goes through the elements of a file, whose byte order it knows."""

    def __init__(self, content: bytes, order: str) -> None:
        self.content, self.order = content, order
        self.arrays = 0

    def elements(self, start: int, stop: int) -> Iterator[_Element]:
        """Elements one after the other; they must fill the range."""
        while start < stop:
            if stop - start < 8:
                raise ValueError("an element is cut")
            word, size = struct.unpack_from(f"{self.order}II", self.content, start)
            if word >> 16:  # a small element: its size and content stand in the tag
                if word >> 16 > 4:
                    raise ValueError("a small element that is large")
                yield _Element(word & 0xFFFF, start + 4, start + 4 + (word >> 16))
                start += 8
                continue
            if size > stop - start - 8:
                raise ValueError("an element is larger than what it lies in")
            yield _Element(word, start + 8, start + 8 + size)
            start += 8 + size + (-size % 8 if word != _COMPRESSED else 0)

    def check_matrix(self, matrix: _Element, depth: int) -> None:
        """Refuse unusual classes, deep nesting, and more entries than there are bytes."""
        self.arrays += 1
        if self.arrays > MOST_ARRAYS or depth > _DEEPEST:
            raise ValueError("arrays in arrays without end")
        if matrix.start == matrix.stop:  # scipy writes an empty cell like this
            return
        parts = list(self.elements(matrix.start, matrix.stop))
        if len(parts) < 3 or parts[0].stop - parts[0].start < 4:
            raise ValueError("a matrix without flags, dimensions and name")
        (flags,) = struct.unpack_from(f"{self.order}I", self.content, parts[0].start)
        size = (parts[1].stop - parts[1].start) // 4
        shape = struct.unpack_from(f"{self.order}{size}i", self.content, parts[1].start)
        if size > 32 or min(shape, default=0) < 0 or math.prod(shape) > matrix.stop - matrix.start:
            raise ValueError("dimensions that do not fit the content")
        kind = flags & 0xFF
        if kind not in (_CELL, _STRUCT, _CHAR, *_NUMBERS):
            raise ValueError(f"a variable of class {kind}, not numbers, texts, cells or structs")
        for part in parts:
            if part.kind == _MATRIX:
                if kind not in (_CELL, _STRUCT):
                    raise ValueError("a matrix in a matrix of numbers")
                self.check_matrix(part, depth + 1)


def _unpacked(raw: bytes) -> bytes:
    """The same file with its compressed elements written out, looked through.

    Raises:
        ValueError: no such file, too large, or a matrix that scipy should not see.
    """
    if not raw.startswith(b"MATLAB 5.0 MAT-file") or raw[126:128] not in (b"IM", b"MI"):
        raise ValueError("no MATLAB file of version 5 to 7")
    order = "<" if raw[126:128] == b"IM" else ">"
    if struct.unpack_from(f"{order}H", raw, 124)[0] != 0x0100:
        raise ValueError("no MATLAB file of version 5 to 7")
    outer, parts, left = _Walk(raw, order), [raw[:_HEADER_BYTES]], LARGEST
    for element in outer.elements(_HEADER_BYTES, len(raw)):
        if element.kind == _COMPRESSED:
            parts.append(_inflated(raw[element.start : element.stop], left))
        else:
            # The tag stands before the content; a small element is no matrix, and refused below.
            parts.append(raw[element.start - 8 : element.stop] + bytes(-element.stop % 8))
        left -= len(parts[-1])
        if left < 0:
            raise ValueError(f"more than {LARGEST:,} bytes of variables")
    content = b"".join(parts)
    walk = _Walk(content, order)
    for element in walk.elements(_HEADER_BYTES, len(content)):
        if element.kind != _MATRIX:
            raise ValueError(f"an element of type {element.kind} where a variable belongs")
        walk.check_matrix(element, 0)
    return content


def _inflated(packed: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(packed, limit + 1)
    if len(content) > limit:
        raise ValueError(f"more than {LARGEST:,} bytes of variables")
    if not stream.eof:
        raise ValueError("a compressed variable is cut")
    return content + bytes(-len(content) % 8)
