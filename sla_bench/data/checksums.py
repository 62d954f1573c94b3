"""Checksums of files, and what a check can find."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

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
