"""Who works on a run: processes that share a results folder do each run once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sla_bench.harness.files import as_user_error


class RunClaimedError(Exception):
    """Another process works on the run now."""


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold a lock file; the system takes it from a process that dies.

    The file stays: whoever removed it could remove one that somebody else has just locked.

    Args:
        path: the lock file; its folders are made.

    Raises:
        RunClaimedError: another process holds it.
        UserError: no permission, or the disk is full.
    """
    lock = FileLock(path, timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RunClaimedError from None
    except OSError as error:
        raise as_user_error(error, path) from error
    try:
        yield
    finally:
        lock.release()
