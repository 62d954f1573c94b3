"""Files of image positions, such as published validation splits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from sla_bench.data.npy_format import load_npy
from sla_bench.data.subset import index_checksum
from sla_bench.errors import UserError
from sla_bench.paths import from_home

_HASHED = re.compile(r"(.+)#([0-9a-f]{16})", re.DOTALL)


def with_hash(name: str) -> str:
    """Return "PATH#HASH" of a file of positions: its absolute path and the hash of what it says.

    Args:
        name: a path, which is read; or what this function has returned, which is taken as it is.

    Raises:
        UserError: as `read_indices`.
    """
    if _HASHED.fullmatch(name):
        return name
    path = from_home(name).absolute()
    return f"{path}#{index_checksum(read_indices(path))}"


def read_hashed(name: str) -> tuple[np.ndarray, Path]:
    """Return the positions of "PATH#HASH", int64 (n,) ascending, and the path.

    Raises:
        UserError: as `read_indices`; or the file says something else than it did.
    """
    found = _HASHED.fullmatch(name)
    path = Path(found[1] if found else name)
    index = read_indices(path)
    if found and index_checksum(index) != found[2]:
        raise UserError(
            f"--val-indices {path}: its positions have the hash {index_checksum(index)}, not {found[2]}; "
            "it has been changed since"
        )
    return index, path


def read_indices(path: Path) -> np.ndarray:
    """Read positions of images: int64 (n,), ascending.

    A .npy file holds an array of whole numbers (n,), a .json file a list of them, any other file one a line.
    The hash of the result is the same whatever the format and the order.

    Raises:
        UserError: the file can't be read, is empty, or says something else; a position is below 0 or is given
            twice.
    """  # noqa: DOC501
    try:
        values = _values(path)
    except UnicodeDecodeError:
        raise _wrong(
            path, "it is not text; write one position a line, or give a .npy or .json file"
        ) from None
    except OSError as error:
        raise _wrong(path, f"it can't be read: {error.strerror or error}") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise _wrong(path, f"positions must be whole numbers: {error}") from None
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise _wrong(path, f"positions must be whole numbers (n,), found {values.dtype} {values.shape}")
    if not len(values):
        raise _wrong(path, "it is empty")
    index = np.sort(values.astype(np.int64))
    if index[0] < 0:
        raise _wrong(path, f"positions count from 0, found {index[0]}")
    repeated = index[1:][index[1:] == index[:-1]]
    if len(repeated):
        raise _wrong(path, f"position {repeated[0]} is given more than once")
    return index


def check_range(index: np.ndarray, num_images: int, path: Path) -> None:
    """Refuse positions of images that do not exist.

    Args:
        index: int64 (n,), ascending.
        num_images: how many exist.
        path: where the positions come from.

    Raises:
        UserError: a position is out of range.
    """  # noqa: DOC501
    if index[-1] >= num_images:
        raise _wrong(path, f"there are {num_images:,} training images, position {index[-1]} is out of range")


def _wrong(path: Path, what: str) -> UserError:
    return UserError(f"--val-indices {path}: {what}")


def _values(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return load_npy(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() == ".json":
        content = json.loads(text)
        if not isinstance(content, list) or not all(type(value) is int for value in content):
            raise ValueError("a JSON list of them is wanted")
        return np.array(content, np.int64)
    for number, line in enumerate(text.splitlines(), 1):
        if not re.fullmatch(r"\s*(-?[0-9]{1,20})?\s*", line):
            raise ValueError(f"line {number} is {line[:20]!r}")
    return np.array([int(word) for word in text.split()], np.int64)
