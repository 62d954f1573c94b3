"""Jobs on local processes, so many at a time; a worker that fails is reported and the others go on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Literal

from sla_bench.errors import UserError
from sla_bench.harness.jobs import Job, perform

_NEWS_INTERVAL = 0.2
# glibc maps blocks above 32 MiB anew at each allocation, and the activations of a batch with four views are
# such blocks: new pages take a fifth of a training step. Larger blocks are still given back at once.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": 48 << 20, "MALLOC_TRIM_THRESHOLD_": 1 << 30}


@dataclass(frozen=True)
class News:
    """Something that happened to a job.

    Args:
        job: which one.
        kind: "started", "progress", "done" or "failed".
        phase: for progress: what is going on.
        done: for progress: how much of it.
        total: for progress: of how much.
        note: a figure to show, or why it failed, in one line.
        log: the traceback of a bug; empty for what the user can mend.
        exit_code: 0, 1 (a bug) or 2 (the user can mend it).
    """

    job: Job
    kind: Literal["started", "progress", "done", "failed"]
    phase: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    log: str = ""
    exit_code: int = 0


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: Job | None = None


def execute(jobs: Sequence[Job], workers: int) -> Iterator[News]:
    """Do the jobs on `workers` processes and yield what happens, as it happens.

    However the generator is left, no worker stays behind.

    Args:
        jobs: what to do, in this order as far as workers are free.
        workers: processes at a time, 1 or more.
    """
    waiting = list(reversed(jobs))
    team: list[_Worker] = []
    try:
        while waiting or any(w.job for w in team):
            while waiting and len(team) < workers:
                team.append(_start(threads=waiting[-1].run.threads))
            for worker in team:
                if worker.job is None and waiting:
                    worker.job = waiting.pop()
                    # A worker that died before this is noticed below, where its answer is missing.
                    with suppress(OSError):
                        worker.connection.send(worker.job)
                    yield News(worker.job, "started")
            busy = {w.connection: w for w in team if w.job is not None}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                news = _next_news(worker)
                if news.kind != "progress":
                    worker.job = None
                    if not waiting or not worker.process.is_alive():
                        team.remove(worker)
                        _dismiss(worker)
                yield news
    finally:
        for worker in team:
            worker.process.terminate()
        for worker in team:
            worker.process.join()


def _start(threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # Read when the worker imports torch; set_num_threads alone comes too late for some libraries.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    for name, size in _MEMORY.items():
        os.environ.setdefault(name, str(size))
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _next_news(worker: _Worker) -> News:
    """What the worker says next, or that it died."""
    assert worker.job is not None
    try:
        news: News = worker.connection.recv()
        return news
    except (EOFError, OSError):
        worker.process.join()
        note = f"its worker process died (exit code {worker.process.exitcode})"
        return News(worker.job, "failed", note=note, exit_code=1)


def _dismiss(worker: _Worker) -> None:
    """Let an idle worker go: it holds half a gigabyte."""
    worker.connection.close()
    worker.process.join()


def _work(connection: Connection) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what happens to its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        connection.send(_attempt(job, connection))


def _attempt(job: Job, connection: Connection) -> News:
    last = 0.0

    def progress(phase: str, done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _NEWS_INTERVAL or done == total:
            last = now
            connection.send(News(job, "progress", phase, done, total, note))

    try:
        perform(job, progress)
    except BrokenPipeError:
        raise SystemExit(1) from None
    except UserError as error:
        return News(job, "failed", note=str(error), exit_code=2)
    except Exception as error:
        return News(
            job,
            "failed",
            note=f"{type(error).__name__}: {error}",
            log=traceback.format_exc(),
            exit_code=1,
        )
    return News(job, "done")
