"""Runs in progress: who works on each, how they are stopped."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field

from sla_bench.config import Acceleration
from sla_bench.errors import UserError
from sla_bench.records.files import as_user_error, write_text

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class RunClaimedError(Exception):
    """Another process works on the run now."""


@contextmanager
def claim(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock file; the system takes it from a process that dies.

    The file stays: whoever removed it could remove one that somebody else has just locked.

    Args:
        path: the lock file; its folders are made.
        wait: until no other process holds it.

    Raises:
        RunClaimedError: another process holds it.
        UserError: no permission, the disk is full, or the file system has no locks.
    """  # noqa: DOC501
    # Instead of a lock of the system, one that a machine leaves when it dies would be held for ever.
    lock = FileLock(path, timeout=-1 if wait else 0, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RunClaimedError from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise UserError(
                f"the file system of {path.parent} has no locks (flock: {error.strerror}), which keep two "
                "commands off the same run; choose another folder with --out"
            ) from error
        raise as_user_error(error, path) from error
    try:
        yield
    finally:
        lock.release()


GRACE_SECONDS = 20.0
"""From asking a run to stop until its process is killed; batch schedulers give 30 seconds and more."""


class StoppedError(BaseException):
    """The run has stopped where it was asked to; like an interrupt, it is no error of the run."""


class Stop:
    """Whether the run was asked to stop."""

    def __init__(self) -> None:
        self.wanted = False

    def check(self) -> None:
        """Leave the run if it was asked to stop.

        Raises:
            StoppedError: it was.
        """
        if self.wanted:
            raise StoppedError


@contextmanager
def stop_on(signal_number: int) -> Iterator[Stop]:
    """Let a signal ask the run inside to stop, instead of what it does otherwise. Main thread only."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.wanted = True

    before = signal.signal(signal_number, ask)
    try:
        yield stop
    finally:
        signal.signal(signal_number, before)


class Way(BaseModel):
    """How a training is computed, on which its last bits depend."""

    model_config = ConfigDict(frozen=True)
    threads: int = Field(1, ge=1)
    acceleration: Acceleration = "eager"


_WAY = "way.json"


def keep_way(checkpoints: Path, way: Way) -> None:
    """Note in a folder of checkpoints how they are made.

    Raises:
        UserError: no permission, or the disk is full.
    """
    write_text(checkpoints / _WAY, way.model_dump_json())


def way_of_checkpoints(checkpoints: Path) -> Way | None:
    """How the checkpoints in a folder were made; None without checkpoints.

    Those of older versions do not tell; they were made on one thread, unless the user said otherwise.
    """
    if next(checkpoints.glob("*/step-*.pt"), None) is None:
        return None
    try:
        return Way.model_validate_json((checkpoints / _WAY).read_bytes())
    except (OSError, ValueError):
        return Way()
