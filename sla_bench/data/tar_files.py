"""Unpacks the wanted files of a `.tar.gz` whose checksum is known."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path

from sla_bench.errors import UserError


def unpack(archive: Path, folder: str, names: Collection[str], to: Path) -> None:
    """Write some files of an archive, those of one folder in it, each whole or not.

    No name in the archive becomes a path: only those that are asked for are written, and only ordinary files.

    Args:
        archive: a `.tar.gz`.
        folder: in the archive.
        names: of files directly in it.
        to: where they are written; made where missing.

    Raises:
        UserError: damaged, one of the files is missing or a link; or `to` can't be written.
    """  # noqa: DOC501
    try:
        to.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "r:gz") as tar:
            for name in names:
                member = tar.getmember(f"{folder}/{name}")
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise ValueError(f"{member.name} is not an ordinary file")
                part = to / f".{name}.part"
                with part.open("wb") as file:
                    shutil.copyfileobj(content, file)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(to / name)
    except KeyError:
        raise UserError(f"{archive} has no {folder}/{name}; delete it and fetch it again") from None
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        raise UserError(f"{archive} is damaged ({error}); delete it and fetch it again") from None
    except OSError as error:
        raise UserError(f"cannot unpack {archive} into {to}: {error.strerror or error}") from None
