"""Small files of known facts, beside prepared images."""

from __future__ import annotations

import contextlib
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


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
