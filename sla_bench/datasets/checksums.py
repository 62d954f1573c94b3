"""Checksums of files, and what a check can find."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from sla_bench.errors import UserError

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
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        size = 0 if path.is_dir() else status.st_size
        # Names that are no UTF-8, as of old archives, are bytes all the same.
        digest.update(os.fsencode(path.relative_to(base).as_posix()))
        digest.update(f"\0{size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
