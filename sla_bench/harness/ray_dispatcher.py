"""The tasks of a grid on a Ray cluster: handed out, listened to, started again, cancelled."""

from __future__ import annotations

import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sla_bench.errors import UserError
from sla_bench.harness.jobs import Job
from sla_bench.harness.launch_options import Launch
from sla_bench.harness.launching import News, crashed, over_limit
from sla_bench.harness.locks import RunClaimedError
from sla_bench.harness.ray_worker import Desk, Outcome, Ticket, work
from sla_bench.harness.record_transfer import pack, unpack
from sla_bench.harness.stopping import GRACE_SECONDS

_POLL_SECONDS = 0.5
_RETRIES = 3
_CANCEL_SECONDS = 10


class Dispatcher:
    """Jobs that wait, jobs that were handed to Ray, and what is heard of them.

    Args:
        ray: the module, connected to a cluster.
        jobs: what to do, with absolute paths.
        settings: device, GPUs, runs at a time, time limit.
        token: a file in the results folder.
    """

    def __init__(self, ray: Any, jobs: Sequence[Job], settings: Launch, token: Path) -> None:
        self._ray = ray
        self._jobs = {job.run_id: job for job in jobs}
        self._waiting = deque(jobs)
        self._limit = settings.workers or len(jobs)
        self._settings, self._token = settings, token
        self._handed: dict[Any, Job] = {}
        self._begun: dict[str, float] = {}
        self._asked: set[str] = set()
        self._tries: Counter[str] = Counter()
        # Ray's own retries are silent and, where memory runs out, endless.
        self._task = ray.remote(max_retries=0, num_gpus=settings.gpus)(work)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._desk = ray.remote(num_cpus=0, scheduling_strategy=here)(Desk).remote()

    def news(self, stopped: Callable[[], bool]) -> Iterator[News]:
        """Hand out the jobs and yield what happens until all have ended.

        Args:
            stopped: says whether nobody listens any more.

        Raises:
            UserError: the node of this machine died.
        """
        while (self._waiting or self._handed) and not stopped():
            while self._waiting and len(self._handed) < self._limit:
                self._hand_out(self._waiting.popleft())
            self._ray.wait(list(self._handed), timeout=_POLL_SECONDS)
            ended, _ = self._ray.wait(list(self._handed), num_returns=len(self._handed), timeout=0)
            yield from self._heard()
            for ref in ended:
                yield from self._ended(ref)
            self._stop_overdue()

    def cancel(self) -> None:
        """Interrupt what still runs; what does not end in time is killed with the connection."""
        left = list(self._handed)
        # Without the node of this machine nothing can be cancelled; Ray ends what its driver has left.
        with suppress(self._ray.exceptions.RayError):
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

    def _stop_overdue(self) -> None:
        """Ask tasks that are over the limit to stop; kill those that have not done so in time."""
        limit, now = self._settings.time_limit, time.monotonic()
        for ref, job in self._handed.items():
            if limit is None or job.run_id not in self._begun:
                continue
            seconds = now - self._begun[job.run_id]
            if seconds >= limit + GRACE_SECONDS:
                self._ray.cancel(ref, force=True)
            elif seconds >= limit and job.run_id not in self._asked:
                self._asked.add(job.run_id)
                self._ray.cancel(ref)

    def _begin(self, job: Job) -> Iterator[News]:
        if job.run_id not in self._begun:
            self._begun[job.run_id] = time.monotonic()
            yield News(job, "started")

    def _ended(self, ref: Any) -> Iterator[News]:
        job = self._handed.pop(ref)
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(ref)
        except errors.LocalRayletDiedError:
            raise UserError(
                "the Ray node of this machine died, and with it the way to the cluster; finished runs are "
                "kept, the same command goes on once the node is back"
            ) from None
        except errors.RayError as error:
            yield from self._begin(job)
            if job.run_id in self._asked:
                yield over_limit(job, self._settings.time_limit or 0.0)
            elif isinstance(error, errors.RayTaskError):
                yield _broken(job, error)
            else:
                yield self._crashed(job, _how_it_died(error))
            return
        if outcome.news is None:
            self._hand_out(job, with_record=True)
            return
        yield from self._begin(job)
        if outcome.news.out_of_memory:
            yield self._crashed(job, outcome.news.note, outcome.news.log)
            return
        news = _record(job, outcome, outcome.news)
        if news.kind == "elsewhere":
            # The others first; by then it may be finished.
            del self._begun[job.run_id]
            self._waiting.append(job)
        yield news

    def _crashed(self, job: Job, how: str, log: str = "") -> News:
        self._tries[job.run_id] += 1
        news = crashed(job, self._tries[job.run_id], _RETRIES, how, log)
        if news.kind == "retrying":
            del self._begun[job.run_id]
            self._waiting.appendleft(job)
        return news


def _record(job: Job, outcome: Outcome, news: News) -> News:
    """Write what came back from a node without the results folder, unless another process works on it."""
    try:
        unpack(outcome.record, job)
    except RunClaimedError:
        return News(job, "elsewhere")
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
