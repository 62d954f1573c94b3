"""Downloads with known size and SHA-256: https, resumed, whole or absent."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import tarfile
import urllib.request
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sla_bench.data.kept import file_digest
from sla_bench.data.preparation import terminal_progress
from sla_bench.errors import UserError


def unpack(archive: Path, folder: str, names: Collection[str], to: Path) -> None:
    """Write ordinary files `folder`/`names` of a `.tar.gz` into the folder `to`, each whole or not at all.

    No name in the archive becomes a path.

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


OFFLINE = "SLA_BENCH_OFFLINE"
"""Variable of the environment: set to anything, nothing is downloaded."""
_BLOCK = 1 << 20
_PATIENCE = 60.0


@dataclass(frozen=True)
class RemoteFile:
    """A file that lies elsewhere.

    Args:
        url: its address.
        size: in bytes.
        sha256: hex digest.
    """

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


class _Refused(Exception):  # noqa: N818 - always becomes a UserError
    """What came is not what was promised."""


@dataclass(frozen=True)
class RemoteArchive:
    """A `.tar.gz` that lies elsewhere.

    Args:
        file: where.
        folder: in it, and below the data root.
        names: files in that folder that are unpacked.
    """

    file: RemoteFile
    folder: str
    names: tuple[str, ...]


def download_archive(archive: RemoteArchive, data_root: Path, schemes: Sequence[str] = ("https",)) -> None:
    """Fetch an archive, unpack what is wanted and not there yet below the data root, and delete the archive.

    Raises:
        UserError: as `download` and `unpack`.
    """
    from filelock import FileLock

    folder, path = data_root / archive.folder, data_root / archive.file.name
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(data_root / f".{archive.folder}.lock", fallback_to_soft=False)
        with lock:
            absent = [name for name in archive.names if not (folder / name).exists()]
            if absent:
                download([archive.file], data_root, archive.file.url, schemes)
                unpack(path, archive.folder, absent, folder)
                path.unlink()
    except OSError as error:
        raise UserError(f"cannot write into {data_root}: {error.strerror or error}") from None


def download(
    files: Sequence[RemoteFile], folder: Path, url: str, schemes: Sequence[str] = ("https",)
) -> None:
    """Fetch files that are not there yet.

    A file gets its name when its size and sum are right; until then it is `.NAME.part`, from which a later
    call resumes.

    Args:
        files: which.
        folder: where to; made where missing.
        url: where a person can get them, for the message.
        schemes: of addresses, also of those that a server refers to.

    Raises:
        UserError: offline, no network, folder not writable, disk full, or another file than expected came.
    """  # noqa: DOC501
    for file in files:
        path = folder / file.name
        try:
            if _is_there(file, path):
                continue
            if os.environ.get(OFFLINE):
                raise _Refused(f"{OFFLINE} is set")
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(file, path, tuple(schemes))
        except (OSError, ValueError, http.client.HTTPException, _Refused) as error:
            raise UserError(
                f"could not download {file.name} ({error}); fetch {url} yourself and put its files into "
                f"{folder}"
            ) from None


def _is_there(file: RemoteFile, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == file.size and file_digest(path, "sha256") == file.sha256


def _fetch(file: RemoteFile, path: Path, schemes: tuple[str, ...]) -> None:
    from filelock import FileLock

    part = path.with_name(f".{path.name}.part")
    with FileLock(part.with_suffix(".lock"), fallback_to_soft=False):
        if _is_there(file, path):  # another process has fetched it meanwhile
            return
        with terminal_progress(f"fetching {file.name}: {file.size:,} bytes") as progress:
            for done in _received(file, part, schemes):
                progress(done, file.size)
        if file_digest(part, "sha256") != file.sha256:
            part.unlink()
            raise _Refused("its SHA-256 is not the published one")
        part.replace(path)


def _received(file: RemoteFile, part: Path, schemes: tuple[str, ...]) -> Iterator[int]:
    """Append what is missing to a part; gives the number of bytes that are there.

    Raises:
        _Refused: an address of another scheme, another size, or the connection ended too early.
    """
    done = part.stat().st_size if part.exists() else 0
    if done > file.size:
        part.unlink()
        done = 0
    if done == file.size:
        return
    with contextlib.closing(_answer(file, done, schemes)) as answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            done = 0  # the server sends all of it
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            raise _Refused("the server sends another part than asked for")
        announced = answer.headers.get("Content-Length", "")
        if announced.isdecimal() and done + int(announced[:20]) != file.size:
            raise _Refused(f"it has {done + int(announced[:20]):,} bytes instead of {file.size:,}")
        with part.open("ab" if done else "wb") as out:
            while block := answer.read(_BLOCK):
                if done + len(block) > file.size:
                    raise _Refused(f"the server sends more than {file.size:,} bytes")
                out.write(block)
                done += len(block)
                yield done
    if done < file.size:
        raise _Refused(f"it ended after {done:,} of {file.size:,} bytes; the same command resumes")


def _answer(file: RemoteFile, done: int, schemes: tuple[str, ...]) -> Any:
    _check_scheme(file.url, schemes)

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            _check_scheme(newurl, schemes)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    headers = {"User-Agent": "sla-bench", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    request = urllib.request.Request(file.url, headers=headers)  # noqa: S310 - the scheme was checked
    return urllib.request.build_opener(Redirects).open(request, timeout=_PATIENCE)


def _check_scheme(url: str, schemes: tuple[str, ...]) -> None:
    if urlsplit(url).scheme not in schemes:
        raise _Refused(f"{url[:200]} is not an {' or '.join(schemes)} address")
