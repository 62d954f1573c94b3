"""The process that speaks with a Ray cluster: hands out tasks, collects their news, writes their records."""

from __future__ import annotations

import os
import platform
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

from sla_bench.errors import UserError
from sla_bench.harness.files import write_text
from sla_bench.harness.jobs import Job
from sla_bench.harness.launch_options import Launch
from sla_bench.harness.launching import News, crashed, usable_cores
from sla_bench.harness.ray_worker import Desk, Outcome, Ticket, work
from sla_bench.harness.record_transfer import pack, unpack

CONNECTING = "connecting"
"""Sent when Ray is imported."""
CONNECTED = "connected"
"""Sent when the cluster answers."""
FINISHED = "finished"
"""Sent last."""

_POLL_SECONDS = 0.5
_RETRIES = 3
_OWN_OBJECT_STORE = 100 * 2**20
"""Bytes; in a cluster on this machine all runs share the results folder, and next to nothing is stored."""
_CANCEL_SECONDS = 3


def drive(
    connection: Connection, jobs: Sequence[Job], settings: Launch, address: str | None, log: Path
) -> None:
    """Body of the process: send news through the connection until all is done or the other end is closed.

    It is a process of its own because Ray prints to the terminal, takes the handler of SIGTERM, and ends the
    process when the cluster can't be reached or goes away. What it prints goes to `log`.

    Args:
        connection: takes CONNECTING, CONNECTED, News, a UserError, FINISHED.
        jobs: what to do, with absolute paths.
        settings: device, GPUs, runs at a time.
        address: of a cluster; None starts one.
        log: file for all output.
    """
    # Ctrl-C reaches the whole process group; the other end decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _print_to(log)
    try:
        import ray

        connection.send(CONNECTING)
        with _cluster(ray, jobs, settings, address):
            connection.send(CONNECTED)
            with _token(jobs[0].out) as token:
                dispatcher = _Dispatcher(ray, jobs, settings, token)
                try:
                    for news in dispatcher.news(stopped=connection.poll):
                        connection.send(news)
                finally:
                    dispatcher.cancel()
        connection.send(FINISHED)
    except ImportError as error:
        why = "" if error.name == "ray" else f" (it is there, but {error})"
        connection.send(UserError(f"Ray is not installed{why}: pip install 'sla-bench[ray]'"))
    except UserError as error:
        connection.send(error)
    except BrokenPipeError:
        pass
    except Exception:
        traceback.print_exc()
        raise


def _print_to(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


@contextmanager
def _cluster(ray: Any, jobs: Sequence[Job], settings: Launch, address: str | None) -> Iterator[None]:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            threads = max(job.run.threads for job in jobs)
            cores = threads * (settings.workers or max(1, usable_cores() // threads))
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(
                address="local",
                num_cpus=cores,
                object_store_memory=_OWN_OBJECT_STORE,
                include_dashboard=False,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except Exception as error:
        where = "here" if address is None else f"at {address}"
        raise UserError(f"Ray {where}: {error}") from error
    try:
        _check_room(ray.nodes(), jobs, settings.gpus)
        yield
    finally:
        ray.shutdown()


def _check_room(nodes: Sequence[dict[str, Any]], jobs: Sequence[Job], gpus: float) -> None:
    """Refuse what no node could ever take; Ray would wait for such a node for ever."""
    threads = max(job.run.threads for job in jobs)
    rooms = [n["Resources"] for n in nodes if n["Alive"]]
    if any(r.get("CPU", 0) >= threads and r.get("GPU", 0) >= gpus for r in rooms):
        return
    have = "; ".join(f"CPU {r.get('CPU', 0):g}, GPU {r.get('GPU', 0):g}" for r in rooms)
    raise UserError(
        f"no node of the Ray cluster has room for a run, which takes CPU {threads} (--threads) and "
        f"GPU {gpus:g} (--gpus-per-run); the nodes have {have}"
    )


@contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """A file by which a node knows that it sees the same folder."""
    path = folder / f".shared-{uuid4().hex}"
    write_text(path, "")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


class _Dispatcher:
    """Tasks on a cluster: those that wait, those that were handed to Ray, what is heard of them."""

    def __init__(self, ray: Any, jobs: Sequence[Job], settings: Launch, token: Path) -> None:
        self._ray = ray
        self._jobs = {job.run_id: job for job in jobs}
        self._waiting = deque(jobs)
        self._limit = settings.workers or len(jobs)
        self._settings, self._token = settings, token
        self._handed: dict[Any, Job] = {}
        self._begun: set[str] = set()
        self._tries: Counter[str] = Counter()
        # Ray's own retries are silent and, where memory runs out, endless.
        self._task = ray.remote(max_retries=0, num_gpus=settings.gpus)(work)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._desk = ray.remote(num_cpus=0, scheduling_strategy=here)(Desk).remote()

    def news(self, stopped: Any) -> Iterator[News]:
        """Hand out the jobs and yield what happens until all have ended.

        Args:
            stopped: says whether nobody listens any more.
        """
        while (self._waiting or self._handed) and not stopped():
            while self._waiting and len(self._handed) < self._limit:
                self._hand_out(self._waiting.popleft())
            self._ray.wait(list(self._handed), timeout=_POLL_SECONDS)
            ended, _ = self._ray.wait(list(self._handed), num_returns=len(self._handed), timeout=0)
            yield from self._heard()
            for ref in ended:
                yield from self._ended(ref)

    def cancel(self) -> None:
        """Interrupt what still runs; what does not end in time is killed with the connection."""
        left = list(self._handed)
        for ref in left:
            self._ray.cancel(ref)
        if left:
            self._ray.wait(left, num_returns=len(left), timeout=_CANCEL_SECONDS)

    def _hand_out(self, job: Job, with_record: bool = False) -> None:
        # Without a reserved GPU a run must not take one: others have reserved it.
        device = "cpu" if job.device == "auto" and not self._settings.gpus else job.device
        ticket = Ticket(
            replace(job, device=device),
            self._token,
            platform.node(),
            Path.cwd(),
            trained=job.store.has_run(job.run_id),
            record=pack(job) if with_record else {},
        )
        ref = self._task.options(num_cpus=job.run.threads).remote(ticket, self._desk)
        self._handed[ref] = job

    def _heard(self) -> Iterator[News]:
        try:
            latest = self._ray.get(self._desk.take.remote(), timeout=10)
        except self._ray.exceptions.RayError:
            return  # progress is lost, results are not
        handed = {job.run_id for job in self._handed.values()}
        for news in latest:
            if news.job.run_id in handed:
                job = self._jobs[news.job.run_id]
                yield from self._begin(job)
                if news.kind != "started":
                    yield replace(news, job=job)

    def _begin(self, job: Job) -> Iterator[News]:
        if job.run_id not in self._begun:
            self._begun.add(job.run_id)
            yield News(job, "started")

    def _ended(self, ref: Any) -> Iterator[News]:
        job = self._handed.pop(ref)
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(ref)
        except errors.RayTaskError as error:
            yield from self._begin(job)
            yield _broken(job, error)
            return
        except errors.RayError as error:
            yield from self._begin(job)
            yield self._crashed(job, error)
            return
        if outcome.news is None:
            self._hand_out(job, with_record=True)
            return
        yield from self._begin(job)
        if outcome.news.kind == "elsewhere":
            self._begun.discard(job.run_id)
            self._waiting.append(job)
        yield _record(job, outcome, outcome.news)

    def _crashed(self, job: Job, error: Exception) -> News:
        self._tries[job.run_id] += 1
        news = crashed(job, self._tries[job.run_id], _RETRIES, _how_it_died(error))
        if news.kind == "retrying":
            self._begun.discard(job.run_id)
            self._waiting.appendleft(job)
        return news


def _record(job: Job, outcome: Outcome, news: News) -> News:
    """Write what came back from a node without the results folder."""
    try:
        unpack(outcome.record, job)
    except UserError as error:
        return News(job, "failed", note=str(error), exit_code=2)
    return replace(news, job=job)


def _broken(job: Job, error: Exception) -> News:
    """A task that could not even be tried, or a bug in it."""
    last = str(error).strip().splitlines()[-1]
    if "No module named 'sla_bench" in str(error):
        note = "a node of the Ray cluster has no sla_bench; install the same version on each"
        return News(job, "failed", note=note, exit_code=2)
    return News(job, "failed", note=last, log=str(error), exit_code=1)


def _how_it_died(error: Exception) -> str:
    known = {
        "NodeDiedError": "the node that it ran on died",
        "WorkerCrashedError": "its worker process died",
        "OutOfMemoryError": "the memory of its node ran out",
        "ObjectLostError": "its result was lost with the node that held it",
    }
    for kind in type(error).__mro__:
        if kind.__name__ in known:
            return known[kind.__name__]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
