"""Files that are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from sla_bench.errors import UserError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its place and move it there, so that a reader sees all of it or nothing.

    Args:
        path: the file; its folders are made.
        write: gets the open binary file.

    Raises:
        UserError: no permission, or the disk is full; what was there before is untouched.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise as_user_error(error, path) from error
    except BaseException:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise


def remove_temporaries(folder: Path) -> None:
    """Delete what killed writers left in a folder and below; nobody may be writing there now."""
    for path in folder.rglob(".*.*"):
        path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Find out now, not after hours of training, whether files can be written.

    Raises:
        UserError: they can't.
    """
    trial = folder / ".trial"
    write_text(trial, "")
    trial.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def as_user_error(error: OSError, path: Path) -> UserError:
    """Say in a line why `path` could not be written."""
    if error.errno == errno.ENOSPC:
        return UserError(f"the disk is full: could not write {path}; finished runs are kept")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"no permission to write {path}; choose another folder with --out or --data-root")
    return UserError(f"could not write {path}: {error.strerror or error}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")
