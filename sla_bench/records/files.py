"""Files that are whole or absent; a command's one output file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from sla_bench.errors import UserError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its place and move it there, so that a reader sees all of it or nothing.

    Args:
        path: the file; its folders are made.
        write: gets the open binary file.

    Raises:
        UserError: no permission, or the disk is full; what was there before is untouched.
    """
    with _beside([path]) as (file,):
        write(file)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files of a record: all are on the disk before the first gets its name.

    Args:
        folder: where; it is made.
        contents: file name -> bytes; they get their names in this order.

    Raises:
        UserError: no permission, or the disk is full; what was there before is untouched.
    """
    with _beside([folder / name for name in contents]) as files:
        for file, content in zip(files, contents.values(), strict=True):
            file.write(content)


@contextmanager
def _beside(paths: Sequence[Path]) -> Iterator[list[BinaryIO]]:
    """Files beside those of one folder, open for writing; they take their places when all has gone well."""
    folder = paths[0].parent
    temporaries: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            files: list[BinaryIO] = []
            for path in paths:
                handle, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
                temporaries.append(Path(name))
                files.append(opened.enter_context(os.fdopen(handle, "wb")))
            yield files
            _flush(files)
        permissions = 0o666 & ~_umask()
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.chmod(permissions)
            _move(temporary, path)
    except BaseException as error:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise as_user_error(error, paths[0] if len(paths) == 1 else folder) from error
        raise


def _move(temporary: Path, path: Path) -> None:
    """Give a file its name; a network file system that asks twice may say the second time that it is gone."""
    identity = temporary.stat().st_ino
    try:
        temporary.replace(path)
    except FileNotFoundError:
        if not path.exists() or path.stat().st_ino != identity:
            raise


def _flush(files: Sequence[BinaryIO]) -> None:
    """Wait until the files are on the disk."""
    for file in files:
        file.flush()
        # Linux begins to write what it is told is not needed soon, so that one commit of the file system's
        # journal serves all files instead of one each.
        if len(files) > 1 and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    for file in files:
        os.fsync(file.fileno())


def remove_temporaries(folder: Path) -> None:
    """Delete what killed writers left in a folder and below; nobody may be writing there now."""
    for path in folder.rglob(".*.*"):
        path.unlink(missing_ok=True)


def remove_files(paths: Iterable[Path]) -> None:
    """Delete files, as far as they are there.

    Raises:
        UserError: no permission.
    """  # noqa: DOC501
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise as_user_error(error, path) from error


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
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is used up"
        return UserError(f"{what}: could not write {path}; finished runs are kept")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            f"no permission to write {path}; choose another folder with --out, --tables or --data-root"
        )
    return UserError(f"could not write {path}: {error.strerror or error}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_bytes(path, text.encode())


def json_bytes(content: Any) -> bytes:
    """The content of a JSON file."""
    return (json.dumps(content, indent=2) + "\n").encode()


STANDARD_OUTPUT = Path("-")


def write_output(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that a person has named.

    A link stays a link, and its target is replaced by a file that is whole. Pipes and devices get the bytes
    once all of them are there. `-` is the standard output.

    Args:
        path: the file; its folders are made.
        write: gets an open binary file, in which it may seek.

    Raises:
        UserError: a folder, a link to itself, no permission, or the disk is full.
        BrokenPipeError: nobody reads the pipe any more.
    """  # noqa: DOC501
    if is_plain_file(path):
        write_atomically(_target_of(path), write)
        return
    with tempfile.TemporaryFile() as whole:
        write(whole)
        whole.seek(0)
        # What was printed before stands before it.
        sys.stdout.flush()
        try:
            # A file that is opened again would be written from its beginning.
            descriptor = os.dup(1) if _is_standard_output(path) else os.open(path, os.O_WRONLY)
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(whole, file)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise as_user_error(error, path) from None


def check_output(path: Path, option: str) -> None:
    """Find out before minutes of work whether a file can be written.

    Args:
        path: as in `write_output`.
        option: that names it, for messages.

    Raises:
        UserError: it can't.
    """
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; name the file to write")
    if is_plain_file(path):
        check_writable(_target_of(path).absolute().parent)


def is_plain_file(path: Path) -> bool:
    """The output is a file, not the standard output, a pipe or a device; a folder is refused later."""
    is_special = path.exists() and not path.is_file() and not path.is_dir()
    return not _is_standard_output(path) and not is_special


def words_beside(path: Path) -> TextIO:
    """The stream for messages: the standard error where `path` is the standard output."""
    return sys.stderr if _is_standard_output(path) else sys.stdout


def _is_standard_output(path: Path) -> bool:
    """`-`, or another name of it, such as /dev/stdout."""
    try:
        return path == STANDARD_OUTPUT or os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


def _target_of(path: Path) -> Path:
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise UserError(f"{path} is a link to itself; name another file")
    return target
