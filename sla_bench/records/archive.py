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
RUN_FILES = ("config.json", "history.csv", "environment.json", "done.json")
EVALUATION_FILES = ("config.json", "samples.npz", "metrics.json")
"""The last one makes the record valid and is written last, as that of RUN_FILES."""
TUNING = "tuning.csv"
_MEMBER = re.compile(
    rf"(?P<scenario>{'|'.join(map(re.escape, SCENARIOS))})/"
    rf"(?:(?P<tuning>{re.escape(TUNING)})|runs/(?P<run>{_ID})/"
    rf"(?:(?P<file>{'|'.join(map(re.escape, RUN_FILES))})"
    rf"|evaluations/(?P<evaluation>{_ID})/(?P<part>{'|'.join(map(re.escape, EVALUATION_FILES))})))"
)


class RefusedError(UserError):
    """Something in an archive is not part of a record; the message says where."""


def is_plain(info: zipfile.ZipInfo) -> bool:
    """Neither encrypted nor packed in an unusual way."""
    return not info.flag_bits & 1 and info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class Member:
    """A file or a folder in an archive; a record is read from it as from a `Path`."""

    archive: RecordArchive
    path: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def __truediv__(self, name: str) -> Member:
        return Member(self.archive, f"{self.path}/{name}")

    def read_bytes(self) -> bytes:
        """The content of the file.

        Raises:
            RefusedError: damaged, or of another size than declared.
        """
        size = self.archive.members[self.path].file_size
        try:
            with self.archive.file.open(self.path) as file:
                content = file.read(size + 1)
        except ZIP_ERRORS as error:
            raise self.archive.refused(self.path, f"damaged ({error})") from None
        if len(content) != size:
            raise self.archive.refused(self.path, "the size differs from the announced size")
        return content


@dataclass(frozen=True)
class ArchivedRun:
    """One run in an archive: the folder of its training, and those of its evaluations by their ids."""

    scenario: str
    folder: Member
    evaluations: dict[str, Member] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The name of its folder."""
        return self.folder.name


class RecordArchive:
    """An open archive whose names and sizes were found harmless.

    Attributes:
        path: the file.
        file: the same, open for reading.
        members: name -> where and how large it is.
        runs: all of them, with all their files.
        tunings: scenario -> its tuning file.

    Args:
        path: the file.
        archive: the same, open for reading.

    Raises:
        UserError: a name that no record has, a link, encryption, a file that is there twice or is missing, or
            sizes out of proportion.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self.file = path, archive
        self.members: dict[str, zipfile.ZipInfo] = {}
        self.tunings: dict[str, Member] = {}
        runs: dict[str, ArchivedRun] = {}
        self._check_sizes(archive.infolist())
        for info in archive.infolist():
            match = _MEMBER.fullmatch(info.filename)
            # A link is written as a file that holds its target.
            kind = stat.S_IFMT(info.external_attr >> 16)
            if match is None or kind not in (0, stat.S_IFREG) or not is_plain(info):
                raise self.refused(info.filename, "not a file of a record")
            if info.filename in self.members:
                raise self.refused(info.filename, "there twice")
            self.members[info.filename] = info
            scenario, run_id, eval_id = match.group("scenario", "run", "evaluation")
            if match["tuning"]:
                self.tunings[scenario] = Member(self, info.filename)
                continue
            folder = Member(self, f"{scenario}/runs/{run_id}")
            run = runs.setdefault(folder.path, ArchivedRun(scenario, folder))
            if eval_id:
                run.evaluations[eval_id] = folder / "evaluations" / eval_id
        self.runs = list(runs.values())
        for run in self.runs:
            self._check_complete(run.folder, RUN_FILES)
            for evaluation in run.evaluations.values():
                self._check_complete(evaluation, EVALUATION_FILES)

    def _check_sizes(self, infos: list[zipfile.ZipInfo]) -> None:
        for info in infos:
            if info.file_size > LARGEST_MEMBER:
                raise self.refused(info.filename, f"larger than {LARGEST_MEMBER:,} bytes")
        total, packed = sum(info.file_size for info in infos), self.path.stat().st_size
        if total > LARGEST_TOTAL or total > max(_UNSUSPICIOUS, LARGEST_RATIO * packed):
            raise UserError(f"{self.path}: {packed:,} bytes that unpack to {total:,}; this is not an export")

    def _check_complete(self, folder: Member, wanted: tuple[str, ...]) -> None:
        for name in wanted:
            if (path := f"{folder.path}/{name}") not in self.members:
                raise self.refused(path, "missing")

    def refused(self, member: str, why: str) -> RefusedError:
        """The error for a member."""
        return RefusedError(f"{self.path}: {member[:200]!r}: {why}; nothing was imported")


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
