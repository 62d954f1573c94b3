"""The files behind a map: changes that keep size and time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sla_bench.data.kept_files import keep_arrays, kept_arrays
from sla_bench.errors import UserError

FILES = ".files.npz"
"""Ending of the file beside a map."""
_DIGEST = 16
_MASK = 2**64 - 1


def stamps_of(paths: Sequence[Path]) -> np.ndarray:
    """Time of change and number of the inode of each file, uint64 (N, 2).

    Whatever is written to a file, or put in its place, alters one of them; so does a copy that is the same.

    Raises:
        UserError: a file is gone.
    """
    return stamps_in(states_of(paths))


def states_of(paths: Sequence[Path]) -> list[os.stat_result]:
    """State of each file.

    Raises:
        UserError: a file is gone.
    """
    try:
        return [os.stat(path) for path in paths]  # noqa: PTH116 - 60,000 times
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None


def stamps_in(states: Sequence[os.stat_result]) -> np.ndarray:
    """As `stamps_of`, of files whose states were read before."""
    stamps = [(status.st_ctime_ns & _MASK, status.st_ino & _MASK) for status in states]
    return np.array(stamps, np.uint64).reshape(-1, 2)


class SourceFiles:
    """Stamps and hashes of the files of one map, kept in `NAME.files.npz` beside it.

    Args:
        folder: of the map.
        name: of the map.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}{FILES}"

    def keep(self, paths: Sequence[Path], before: np.ndarray) -> None:
        """Keep stamps and hashes; where nothing can be written, nothing is kept.

        Args:
            paths: the files.
            before: their stamps before the map was made, uint64 (N, 2); one that differs now gets no hash.
        """
        still = (stamps_of(paths) == before).all(axis=1)
        digests = np.zeros((len(paths), _DIGEST), np.uint8)
        digests[still] = _digests([path for path, same in zip(paths, still, strict=True) if same])
        self._write(before, digests)

    def unchanged(self, path_of: Callable[[int], Path], now: np.ndarray) -> bool:
        """Compare the files with those of the map: by their stamps, where these differ by their bytes.

        Maps of earlier versions are taken as they are, and the stamps of now are kept for later.

        Args:
            path_of: position -> file.
            now: stamps of all files, uint64 (N, 2).
        """
        kept = self._read()
        if kept is None or len(kept[0]) != len(now):
            self._write(now, np.zeros((len(now), _DIGEST), np.uint8))
            return True
        stamps, digests = kept
        places = np.flatnonzero((stamps != now).any(axis=1))
        if not len(places):
            return True
        if not digests[places].any(axis=1).all():
            return False
        if not np.array_equal(_digests([path_of(place) for place in places.tolist()]), digests[places]):
            return False
        self._write(now, digests)
        return True

    def _read(self) -> tuple[np.ndarray, np.ndarray] | None:
        arrays = kept_arrays(self._path, "stamps", "digests")
        if arrays is None:
            return None
        stamps, digests = arrays
        fits = stamps.shape == (len(stamps), 2) and digests.shape == (len(stamps), _DIGEST)
        return (stamps, digests) if fits else None

    def _write(self, stamps: np.ndarray, digests: np.ndarray) -> None:
        keep_arrays(self._path, stamps=stamps, digests=digests)


def _digests(paths: Sequence[Path]) -> np.ndarray:
    """Hashes of the bytes of files, uint8 (N, 16).

    Raises:
        UserError: a file can't be read.
    """
    found = np.empty((len(paths), _DIGEST), np.uint8)
    for place, path in enumerate(paths):
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST)).digest()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
        found[place] = np.frombuffer(digest, np.uint8)
    return found
