"""Unpacking of the few files of a `.tar.gz` that are wanted, whatever else is in it."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

from sla_bench.errors import UserError

LARGEST = 1 << 28
"""Bytes of an archive, unpacked; CIFAR has 186 million."""


class _Limited:
    """A stream that ends with an error after LARGEST bytes."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream, self._left = stream, LARGEST

    def read(self, count: int) -> bytes:
        """Like a file's; ValueError beyond the limit."""
        found = self._stream.read(count)
        self._left -= len(found)
        if self._left < 0:
            raise ValueError(f"more than {LARGEST:,} bytes")
        return found


def unpack(archive: Path, folder: str, names: Collection[str], to: Path) -> None:
    """Write some files of an archive, those of one folder in it, each whole or not.

    No name in the archive becomes a path: only those that are asked for are written, and only ordinary files.

    Args:
        archive: a `.tar.gz`.
        folder: in the archive.
        names: of files directly in it.
        to: where they are written; made where missing.

    Raises:
        UserError: damaged, larger than LARGEST unpacked, one of the files is missing, is there twice, or is a
            link; or `to` can't be written.
    """  # noqa: DOC501
    wanted = {f"{folder}/{name}": name for name in names}
    done: set[str] = set()
    try:
        to.mkdir(parents=True, exist_ok=True)
        with gzip.open(archive) as stream, _members(stream) as tar:
            for member in tar:
                name = wanted.get(member.name)
                if name is None:
                    continue
                content = tar.extractfile(member) if member.isreg() else None
                if content is None or name in done:
                    raise ValueError(f"{member.name} is no ordinary file, or is there twice")
                _write(content, to / name)
                done.add(name)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, MemoryError) as error:
        raise UserError(f"{archive} is damaged ({error}); delete it and fetch it again") from None
    except OSError as error:
        raise UserError(f"cannot unpack {archive} into {to}: {error.strerror or error}") from None
    absent = sorted(set(names) - done)
    if absent:
        raise UserError(f"{archive} has no {folder}/{absent[0]}; delete it and fetch it again")


def _members(stream: gzip.GzipFile) -> tarfile.TarFile:
    limited: Any = _Limited(stream)
    return tarfile.open(fileobj=limited, mode="r|")


def _write(content: IO[bytes], path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
