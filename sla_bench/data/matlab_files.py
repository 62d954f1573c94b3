"""MATLAB files up to version 7, read by scipy."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.errors import UserError

LARGEST = 1 << 22
"""Bytes of a file; its variables are at most a thousand times as large."""
_UNREADABLE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, MemoryError, OverflowError,
    NotImplementedError, RecursionError, AssertionError, zlib.error, struct.error,
)  # fmt: skip


def load_mat(path: Path) -> dict[str, np.ndarray]:
    """The variables of a MATLAB file, without dimensions of length 1.

    Raises:
        UserError: unreadable, larger than LARGEST, damaged, or of version 7.3.
    """  # noqa: DOC501
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes")
        content: dict[str, Any] = loadmat(path, squeeze_me=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (MatReadError, *_UNREADABLE) as error:
        raise UserError(f"cannot read {path}: {error}; fetch it again") from None
    return {name: value for name, value in content.items() if not name.startswith("__")}
