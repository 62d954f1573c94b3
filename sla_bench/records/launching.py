"""Shared by all launchers: news, and one attempt at a job."""

# A launcher is a function `(jobs, settings: Launch) -> Iterator[News]`, named in `registry.LAUNCHERS`.

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sla_bench.errors import DivergedError, UserError
from sla_bench.records.in_progress import RunClaimedError
from sla_bench.records.jobs import Job

if TYPE_CHECKING:
    from sla_bench.training.loop import Progress

_CLAIMED_SECONDS = 1.0
"""Until a run that another process works on is looked at again."""
_NO_MEMORY = "out of memory; try fewer --workers or a smaller batch"


@dataclass(frozen=True)
class News:
    """Something that happened to a job.

    Args:
        job: which one.
        kind: "started", "progress", "done" or "failed"; "retrying": it crashed, and it will be started again;
            "elsewhere": another process works on it, and it will be looked at again.
        phase: for progress: the current work.
        done: for progress: how much of it.
        total: for progress: of how much.
        note: a figure to show, or why it failed, in one line.
        log: the traceback of a bug; empty for an error that the user can fix.
        exit_code: 0, 1 (a bug) or 2 (an error that the user can fix).
        diverged: it failed because its loss was not finite.
        out_of_memory: it failed because memory ran out, in this process.
    """

    job: Job
    kind: Literal["started", "progress", "done", "failed", "retrying", "elsewhere"]
    phase: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    log: str = ""
    exit_code: int = 0
    diverged: bool = False
    out_of_memory: bool = False


def attempt(
    job: Job, do: Callable[[Job, Progress], None], tell: Callable[[News], None], interval: float
) -> News:
    """Do a job in this process and say how it ended.

    Args:
        job: what to do.
        do: does it.
        tell: gets the progress.
        interval: seconds between two pieces of progress, at least.

    Returns:
        "done", "failed" or, after a moment, "elsewhere".

    Raises:
        SystemExit: nobody listens to the progress any more.
    """
    last = 0.0

    def progress(phase: str, done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= interval or done == total:
            last = now
            tell(News(job, "progress", phase, done, total, note))

    try:
        do(job, progress)
    except BrokenPipeError:
        raise SystemExit(1) from None
    except RunClaimedError:
        time.sleep(_CLAIMED_SECONDS)
        return News(job, "elsewhere")
    except UserError as error:
        diverged = isinstance(error, DivergedError)
        log = error.log if isinstance(error, DivergedError) else ""
        return News(job, "failed", note=str(error), log=log, exit_code=2, diverged=diverged)
    except Exception as error:  # noqa: BLE001 - the other runs continue after any error
        log = traceback.format_exc()
        if _memory_ran_out(error):
            return News(job, "failed", note=_NO_MEMORY, log=log, exit_code=1, out_of_memory=True)
        return News(job, "failed", note=f"{type(error).__name__}: {error}", log=log, exit_code=1)
    return News(job, "done")


def _memory_ran_out(error: Exception) -> bool:
    """Python, NumPy and the system have types for it; torch says so for a GPU by type, else in words."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "allocate memory" in str(error))
    )


def crashed(job: Job, tries: int, retries: int, how: str, log: str = "") -> News:
    """Say that a job's process died, or has no memory left: it is tried again, or given up.

    Args:
        job: which one.
        tries: how often it was started, 1 or more.
        retries: how often it may be started again.
        how: in a few words.
        log: its last words.
    """
    if tries <= retries:
        return News(job, "retrying", note=how)
    times = f", {tries} times" if tries > 1 else ""
    return News(job, "failed", note=how + times, log=log, exit_code=1)


def over_limit(job: Job, seconds: float) -> News:
    """Say that a job was stopped after so many seconds."""
    kept = any(job.store.checkpoint_folder(job.run_id).rglob("step-*.pt"))
    after = "the same command resumes from its checkpoint" if kept else "it has left no checkpoint"
    note = f"stopped, over its limit of {seconds:g} s (--time-limit); {after}"
    return News(job, "failed", note=note, exit_code=2)
