"""Reading an archive of records that anybody may have made."""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sla_bench.errors import UserError
from sla_bench.paths import nearest_path
from sla_bench.registry import SCENARIOS

LARGEST_MEMBER = 64 << 20
"""Bytes of one file, written out."""
LARGEST_TOTAL = 64 << 30
LARGEST_RATIO = 200
"""Of all files written out to the archive."""
_UNSUSPICIOUS = 16 << 20
"""Bytes below which the ratio says nothing."""

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    ValueError,
    struct.error,
)
"""What reading a damaged archive raises."""

_ID = r"[0-9a-f]{12}"
_RUN_FILES = ("config.json", "history.csv", "environment.json", "done.json")
_EVALUATION_FILES = ("config.json", "samples.npz", "metrics.json")
TUNING = "tuning.csv"
_MEMBER = re.compile(
    rf"(?P<scenario>{'|'.join(map(re.escape, SCENARIOS))})/"
    rf"(?:(?P<tuning>{re.escape(TUNING)})|runs/(?P<run>{_ID})/"
    rf"(?:(?P<file>{'|'.join(map(re.escape, _RUN_FILES))})"
    rf"|evaluations/(?P<evaluation>{_ID})/(?P<part>{'|'.join(map(re.escape, _EVALUATION_FILES))})))"
)


def is_plain(info: zipfile.ZipInfo) -> bool:
    """Neither encrypted nor packed in an unusual way."""
    return not info.flag_bits & 1 and info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass
class RunFiles:
    """Where the files of one run are in an archive: file name -> member; evaluations: id -> the same."""

    scenario: str
    run_id: str
    files: dict[str, zipfile.ZipInfo] = field(default_factory=dict)
    evaluations: dict[str, dict[str, zipfile.ZipInfo]] = field(default_factory=dict)


class RecordArchive:
    """An open archive whose names and sizes were found harmless.

    Attributes:
        runs: where their files are.
        tunings: scenario -> member, what was tuned.

    Args:
        path: the file.
        archive: it, open for reading.

    Raises:
        UserError: a name that no record has, a link, encryption, a file that is there twice or is missing, or
            sizes out of proportion.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive
        infos = archive.infolist()
        self._check_sizes(infos)
        self.tunings: dict[str, zipfile.ZipInfo] = {}
        runs: dict[tuple[str, str], RunFiles] = {}
        for info in infos:
            match = _MEMBER.fullmatch(info.filename)
            # A link is written as a file that holds its target.
            kind = stat.S_IFMT(info.external_attr >> 16)
            if match is None or kind not in (0, stat.S_IFREG) or not is_plain(info):
                raise self.refused(info.filename, "no file of a record")
            key = (match["scenario"], match["run"])
            if match["tuning"]:
                place, name = self.tunings, match["scenario"]
            elif match["evaluation"]:
                run = runs.setdefault(key, RunFiles(*key))
                place, name = run.evaluations.setdefault(match["evaluation"], {}), match["part"]
            else:
                place, name = runs.setdefault(key, RunFiles(*key)).files, match["file"]
            if name in place:
                raise self.refused(info.filename, "there twice")
            place[name] = info
        self.runs = list(runs.values())
        for run in self.runs:
            self._check_complete(f"{run.scenario}/runs/{run.run_id}", run.files, _RUN_FILES)
            for eval_id, files in run.evaluations.items():
                where = f"{run.scenario}/runs/{run.run_id}/evaluations/{eval_id}"
                self._check_complete(where, files, _EVALUATION_FILES)

    def _check_sizes(self, infos: list[zipfile.ZipInfo]) -> None:
        for info in infos:
            if info.file_size > LARGEST_MEMBER:
                raise self.refused(info.filename, f"larger than {LARGEST_MEMBER:,} bytes")
        total, packed = sum(info.file_size for info in infos), self.path.stat().st_size
        if total > LARGEST_TOTAL or total > max(_UNSUSPICIOUS, LARGEST_RATIO * packed):
            raise UserError(f"{self.path}: {packed:,} bytes that unpack to {total:,}; this is no export")

    def _check_complete(self, where: str, files: dict[str, zipfile.ZipInfo], wanted: tuple[str, ...]) -> None:
        for name in wanted:
            if name not in files:
                raise self.refused(f"{where}/{name}", "missing")

    def refused(self, member: str, why: str) -> UserError:
        """The error for a member."""
        return UserError(f"{self.path}: {member[:200]!r}: {why}; nothing was imported")

    def read(self, info: zipfile.ZipInfo) -> bytes:
        """Return the content of a member.

        Raises:
            UserError: damaged, or of another size than declared.
        """
        try:
            with self._archive.open(info) as file:
                content = file.read(info.file_size + 1)
        except ZIP_ERRORS as error:
            raise self.refused(info.filename, f"damaged ({error})") from None
        if len(content) != info.file_size:
            raise self.refused(info.filename, "of another size than it says")
        return content


@contextmanager
def open_archive(path: Path) -> Iterator[RecordArchive]:
    """Open an archive of records.

    Raises:
        UserError: no such file, not a zip file, or as `RecordArchive`.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{nearest_path(path)}") from None
    except ZIP_ERRORS as error:
        raise UserError(f"{path}: not an archive of records ({error})") from None
    with archive:
        yield RecordArchive(path, archive)
