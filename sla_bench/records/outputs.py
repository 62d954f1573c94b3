"""Writes the output file of a command, following links."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from sla_bench.errors import UserError
from sla_bench.records.files import as_user_error, check_writable, write_atomically

STANDARD_OUTPUT = Path("-")
_MOST_LINKS = 40
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/(\d+)/fd")


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
    target = _target_of(path)
    if isinstance(target, Path) and _is_replaced(target):
        write_atomically(target, write)
        return
    with tempfile.TemporaryFile() as whole:
        write(whole)
        whole.seek(0)
        try:
            with _opened(path, target) as file:
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
    target = _target_of(path)
    if isinstance(target, Path) and _is_replaced(target):
        check_writable(target.absolute().parent)


def is_plain_file(path: Path) -> bool:
    """The output is a file, not the standard output, a pipe or a device."""
    target = _target_of(path)
    return isinstance(target, Path) and _is_replaced(target)


def words_beside(path: Path) -> TextIO:
    """The stream for messages: the standard error where `path` is the standard output."""
    return sys.stderr if _target_of(path) == 1 else sys.stdout


@contextmanager
def _opened(path: Path, target: Path | int) -> Iterator[BinaryIO]:
    """A pipe, a device or a descriptor of this process, open for writing."""
    if isinstance(target, Path):
        with target.open("wb") as file:
            yield file
        return
    # What was printed before stands before it.
    sys.stdout.flush()
    if path == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # A file that is opened again would be written from its beginning.
    with os.fdopen(os.dup(target), "wb") as file:
        yield file


def _is_replaced(target: Path) -> bool:
    """Nothing is there, or a regular file; a folder is refused where it is written."""
    return not target.exists() or target.is_file() or target.is_dir()


def _target_of(path: Path) -> Path | int:
    """Follow links to a file, or to a descriptor of this process."""
    if path == STANDARD_OUTPUT:
        return 1
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        match = _DESCRIPTORS.fullmatch(folder)
        if match and match[1] in (None, str(os.getpid())) and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return path
        path = path.parent / path.readlink()
    raise UserError(f"{path} is a link to itself; name another file")
