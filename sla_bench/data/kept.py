"""Fingerprints of files, and small files of known facts beside prepared images."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from sla_bench.errors import UserError
from sla_bench.paths import names_below

Status = Literal["ok", "unknown", "bad"]
"""ok: equal to the published or recorded checksum. unknown: readable and of the right form, but nothing to
compare with. bad: damaged, altered or not what its name says."""


def file_digest(path: Path, algorithm: str) -> str:
    """Hex digest of a file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def fingerprint(paths: Iterable[Path], base: Path) -> str:
    """16 hex digits that change when a file or folder is renamed, resized, touched, added or removed."""
    paths = list(paths)
    return fingerprint_of(names_below(paths, base), [path.stat() for path in paths])


def fingerprint_of(names: Iterable[str], states: Iterable[os.stat_result]) -> str:
    """As `fingerprint`, of files and folders whose names and states were read before."""
    digest = hashlib.sha256()
    for name, status in zip(names, states, strict=True):
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        # Names that are not UTF-8, as of old archives, are bytes all the same.
        digest.update(os.fsencode(name))
        digest.update(f"\0{size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def keep(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, whole or not at all; nothing is kept where nothing can be written.

    Args:
        path: the file; its folder is made.
        write: gets the open binary file.
    """
    # `datasets clear` deletes what a killed process leaves: .NAME.part
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                write(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def keep_arrays(path: Path, **arrays: Any) -> None:
    """Write named arrays, as `keep`."""
    keep(path, lambda file: np.savez(file, **arrays))


def kept_arrays(path: Path, *names: str) -> list[np.ndarray] | None:
    """Read arrays by name, of any shape; None where the file is missing, damaged, or lacks one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


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
