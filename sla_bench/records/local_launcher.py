"""Jobs on local processes; a failed worker does not stop the others."""

from __future__ import annotations

import math
import multiprocessing
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from sla_bench.records.cores import thread_limits
from sla_bench.records.environment import let_workers_keep_memory
from sla_bench.records.gpus import Place, places_of
from sla_bench.records.in_progress import GRACE_SECONDS, StoppedError, stop_on
from sla_bench.records.jobs import Job, perform
from sla_bench.records.launch_options import Launch
from sla_bench.records.launching import News, attempt, crashed, over_limit
from sla_bench.records.planning import Room, room_of
from sla_bench.words import forgive_characters

_NEWS_INTERVAL = 0.2
_RETRIES = 1
_TERMINATED = 128 + signal.SIGTERM


@dataclass
class _Worker:
    """A process; at `until` (monotonic) it is asked to stop and, where it was `asked`, killed."""

    process: SpawnProcess
    connection: Connection
    threads: int
    place: Place
    job: Job | None = None
    until: float = math.inf
    asked: bool = False


def launch(jobs: Sequence[Job], settings: Launch) -> Iterator[News]:
    """Do the jobs on processes of this machine and yield what happens, as it happens.

    A job whose process dies or has no memory left is started once more; one that another command works on
    comes last. A job that takes longer than `time_limit` is stopped after a checkpoint or, where it hangs,
    killed. However the generator is left, the trainings leave checkpoints, and no worker stays behind.

    Args:
        jobs: what to do; they start in this order, as soon as so many cores as they have threads are free.
        settings: `workers` processes at a time; by default as many as there are cores for their threads.

    Raises:
        UserError: this machine has no such device.
    """
    places = places_of(settings)
    room = room_of(settings, places)
    limit = settings.time_limit or math.inf
    waiting = list(reversed(jobs))
    tries: Counter[str] = Counter()
    team: list[_Worker] = []
    try:
        while waiting or any(w.job for w in team):
            yield from _hand_out(waiting, team, room, places, limit)
            busy = {w.connection: w for w in team if w.job is not None}
            for connection in wait(list(busy), _patience(team)):
                worker = busy[connection]  # type: ignore[index]
                job = worker.job
                assert job is not None
                news = _next_news(worker)
                if news is None and worker.asked:
                    _dismiss(worker, team)
                    news = over_limit(job, limit)
                elif news is None or news.out_of_memory:
                    _dismiss(worker, team)
                    tries[job.run_id] += 1
                    how, log = (news.note, news.log) if news else (_how_it_died(worker), "")
                    news = crashed(job, tries[job.run_id], _RETRIES, how, log)
                    if news.kind == "retrying":
                        waiting.append(job)
                elif news.kind != "progress":
                    worker.job, worker.until = None, math.inf
                    if worker.asked:
                        _dismiss(worker, team)
                    if news.kind == "elsewhere":
                        # The others first; by then it may be finished.
                        waiting.insert(0, job)
                yield news
            _stop_overdue(team)
    finally:
        _stop_all(team)


def _start(threads: int, place: Place) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, place), daemon=True)
    let_workers_keep_memory()
    with thread_limits(threads):
        process.start()
    theirs.close()
    return _Worker(process, ours, threads, place)


def _hand_out(
    waiting: list[Job], team: list[_Worker], room: Room, places: Sequence[Place], limit: float
) -> Iterator[News]:
    """Give the last of the waiting jobs to workers, idle or new ones, as long as there is room for it."""
    while waiting and room.holds(waiting[-1].threads, [w.threads for w in team if w.job is not None]):
        idle = [w for w in team if w.job is None]
        fit = next((w for w in idle if w.threads == waiting[-1].threads), None)
        if fit is None:
            # Others are of no use now, and each holds half a gigabyte.
            for worker in idle:
                _dismiss(worker, team)
            taken = {worker.place for worker in team}
            free = next((place for place in places if place not in taken), Place())
            fit = _start(waiting[-1].threads, free)
            team.append(fit)
        yield _assign(fit, waiting.pop(), limit)
    if not waiting:
        for worker in [w for w in team if w.job is None]:
            _dismiss(worker, team)


def _assign(worker: _Worker, job: Job, limit: float) -> News:
    worker.job, worker.until = job, time.monotonic() + limit
    # A worker that died before this is noticed where its answer is missing.
    with suppress(OSError):
        worker.connection.send(replace(job, device=worker.place.device or job.device))
    return News(job, "started")


def _dismiss(worker: _Worker, team: list[_Worker]) -> None:
    """Let a worker go that has nothing to do, or is dead."""
    team.remove(worker)
    worker.connection.close()
    worker.process.join()


def _patience(team: Sequence[_Worker]) -> float | None:
    """Seconds until a worker has to be stopped; None: no time is set."""
    until = min(worker.until for worker in team)
    return None if until == math.inf else max(0.0, until - time.monotonic())


def _stop_overdue(team: Sequence[_Worker]) -> None:
    now = time.monotonic()
    for worker in team:
        if worker.until <= now:
            if worker.asked:
                worker.process.kill()
            else:
                worker.process.terminate()
            worker.asked, worker.until = True, math.inf if worker.asked else now + GRACE_SECONDS


def _stop_all(team: Sequence[_Worker]) -> None:
    """Ask all workers to stop; kill those that don't in time, or all where the waiting is interrupted."""
    for worker in team:
        worker.process.terminate()
    until = time.monotonic() + GRACE_SECONDS
    try:
        for worker in team:
            worker.process.join(max(0.0, until - time.monotonic()))
    finally:
        for worker in team:
            worker.process.kill()
        for worker in team:
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


def _work(connection: Connection, place: Place) -> None:
    place.take()
    # Ctrl-C reaches the whole process group; the parent decides what happens to its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    forgive_characters()
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        try:
            with stop_on(signal.SIGTERM) as stop:
                news = attempt(job, partial(perform, stop=stop), connection.send, _NEWS_INTERVAL)
        except StoppedError:
            sys.exit(_TERMINATED)
        connection.send(news)
        if stop.wanted:
            return
