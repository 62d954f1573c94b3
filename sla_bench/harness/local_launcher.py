"""Jobs on local processes, so many at a time; a worker that fails is reported and the others go on."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from sla_bench.harness.jobs import Job, perform
from sla_bench.harness.launch_options import Launch
from sla_bench.harness.launching import News, attempt, crashed, runs_at_a_time, thread_limits
from sla_bench.harness.memory import let_workers_keep_memory

_NEWS_INTERVAL = 0.2
_RETRIES = 1


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    threads: int
    job: Job | None = None


def launch(jobs: Sequence[Job], settings: Launch) -> Iterator[News]:
    """Do the jobs on processes of this machine and yield what happens, as it happens.

    A job whose process dies is started once more; one that another command works on comes last. However the
    generator is left, no worker stays behind.

    Args:
        jobs: what to do, in this order as far as workers are free.
        settings: `workers` processes at a time; by default as many as there are cores for their threads.
    """
    workers = runs_at_a_time(jobs, settings)
    waiting = list(reversed(jobs))
    tries: Counter[str] = Counter()
    team: list[_Worker] = []
    try:
        while waiting or any(w.job for w in team):
            _dismiss_unfit(team, waiting)
            yield from _hand_out(waiting, team, workers)
            busy = {w.connection: w for w in team if w.job is not None}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                job = worker.job
                assert job is not None
                news = _next_news(worker)
                if news is None:
                    team.remove(worker)
                    tries[job.run_id] += 1
                    news = crashed(job, tries[job.run_id], _RETRIES, _how_it_died(worker))
                    if news.kind == "retrying":
                        waiting.append(job)
                elif news.kind != "progress":
                    worker.job = None
                    if news.kind == "elsewhere":
                        # The others first; by then it may be finished.
                        waiting.insert(0, job)
                yield news
    finally:
        for worker in team:
            worker.process.terminate()
        for worker in team:
            worker.process.join()


def _start(threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    let_workers_keep_memory()
    with thread_limits(threads):
        process.start()
    theirs.close()
    return _Worker(process, ours, threads)


def _hand_out(waiting: list[Job], team: list[_Worker], workers: int) -> Iterator[News]:
    """Give each idle worker the last of the waiting jobs, and start workers while there may be more."""
    for worker in team:
        if worker.job is None and waiting and waiting[-1].run.threads == worker.threads:
            yield _assign(worker, waiting.pop())
    while waiting and len(team) < workers:
        team.append(_start(threads=waiting[-1].run.threads))
        yield _assign(team[-1], waiting.pop())


def _assign(worker: _Worker, job: Job) -> News:
    worker.job = job
    # A worker that died before this is noticed where its answer is missing.
    with suppress(OSError):
        worker.connection.send(job)
    return News(job, "started")


def _dismiss_unfit(team: list[_Worker], waiting: Sequence[Job]) -> None:
    """Let idle workers go that the next job can't use: each holds half a gigabyte."""
    for worker in [w for w in team if w.job is None]:
        if not waiting or waiting[-1].run.threads != worker.threads:
            team.remove(worker)
            worker.connection.close()
            worker.process.join()


def _next_news(worker: _Worker) -> News | None:
    """What the worker says next; None if it died."""
    try:
        news: News = worker.connection.recv()
        return news
    except (EOFError, OSError):
        worker.process.join()
        return None


def _how_it_died(worker: _Worker) -> str:
    code = worker.process.exitcode
    hint = ", killed by the system if memory ran out" if code == -signal.SIGKILL else ""
    return f"its worker process died (exit code {code}{hint})"


def _work(connection: Connection) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what happens to its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        connection.send(attempt(job, perform, connection.send, _NEWS_INTERVAL))
