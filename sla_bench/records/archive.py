"""Unpacking an archive of records that anybody may have made."""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from sla_bench.errors import UserError
from sla_bench.registry import SCENARIOS
from sla_bench.words import nearest_path

LARGEST_MEMBER = 64 << 20
"""Bytes of one file, written out."""
LARGEST_TOTAL = 64 << 30
LARGEST_RATIO = 200
"""Of all files written out to the archive."""
_UNSUSPICIOUS = 16 << 20
"""Bytes below which the ratio says nothing."""

ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError,
    struct.error,
)  # fmt: skip
"""What reading a damaged archive raises."""

RUN_FILES = ("config.json", "history.csv", "environment.json", "done.json")
EVALUATION_FILES = ("config.json", "samples.npz", "metrics.json")
"""The last one makes the record valid and is written last, as that of RUN_FILES."""
TUNING = "tuning.csv"
_ID = "[0-9a-f]{12}"


def _any_of(names: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, names))})"


_MEMBER = re.compile(
    rf"{_any_of(SCENARIOS)}/(?:{re.escape(TUNING)}|runs/{_ID}/{_any_of(RUN_FILES)}"
    rf"|runs/{_ID}/evaluations/{_ID}/{_any_of(EVALUATION_FILES)})"
)


def is_plain(info: zipfile.ZipInfo) -> bool:
    """Neither encrypted nor packed in an unusual way."""
    return not info.flag_bits & 1 and info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def refused(path: Path, member: str, why: str) -> UserError:
    """The error for a file or a folder in an archive."""
    return UserError(f"{path}: {member[:200]!r}: {why}; nothing was imported")


def unpack(path: Path, folder: Path) -> None:
    """Unpack an archive whose names and sizes are harmless.

    Args:
        path: the archive.
        folder: an empty folder, which then holds `<scenario>/runs/` and tuning files.

    Raises:
        UserError: no such file, not a zip file, a name that no record has, a link, encryption, a file that is
            there twice, is missing or is damaged, or sizes out of proportion.
    """  # noqa: DOC501
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{nearest_path(path)}") from None
    except ZIP_ERRORS as error:
        raise UserError(f"{path}: not an archive of records ({error})") from None
    with archive:
        infos = archive.infolist()
        _check_sizes(path, infos)
        _check_names(path, infos)
        for info in infos:
            try:
                archive.extract(info, folder)
            except ZIP_ERRORS as error:
                raise refused(path, info.filename, f"damaged ({error})") from None


def _check_sizes(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    for info in infos:
        if info.file_size > LARGEST_MEMBER:
            raise refused(path, info.filename, f"larger than {LARGEST_MEMBER:,} bytes")
    total, packed = sum(info.file_size for info in infos), path.stat().st_size
    if total > LARGEST_TOTAL or total > max(_UNSUSPICIOUS, LARGEST_RATIO * packed):
        raise UserError(f"{path}: {packed:,} bytes that unpack to {total:,}; this is not an export")


def _check_names(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Refuse what is not a file of a record, or there twice, and records that lack a file."""
    names: set[str] = set()
    for info in infos:
        # A link is written as a file that holds its target.
        kind = stat.S_IFMT(info.external_attr >> 16)
        if not _MEMBER.fullmatch(info.filename) or kind not in (0, stat.S_IFREG) or not is_plain(info):
            raise refused(path, info.filename, "not a file of a record")
        if info.filename in names:
            raise refused(path, info.filename, "there twice")
        names.add(info.filename)
    for folder in {name.rpartition("/")[0] for name in names if "/runs/" in name}:
        run, inside, _ = folder.partition("/evaluations/")
        wanted = {f"{run}/{name}" for name in RUN_FILES}
        if inside:
            wanted |= {f"{folder}/{name}" for name in EVALUATION_FILES}
        if missing := wanted - names:
            raise refused(path, min(missing), "missing")
