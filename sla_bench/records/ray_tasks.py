"""The tasks of a grid on a Ray cluster: submitted, restarted, cancelled."""

from __future__ import annotations

import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sla_bench.errors import UserError
from sla_bench.records.in_progress import GRACE_SECONDS
from sla_bench.records.jobs import Job
from sla_bench.records.launch_options import Launch
from sla_bench.records.launching import News, crashed, over_limit
from sla_bench.records.ray_worker import Desk, work

_POLL_SECONDS = 0.5
_RETRIES = 3
_CANCEL_SECONDS = 10
_DEATHS = {
    "NodeDiedError": "the node that it ran on died",
    "WorkerCrashedError": "its worker process died",
    "OutOfMemoryError": "the memory of its node ran out",
    "ObjectLostError": "its result was lost with the node that held it",
}


@dataclass
class _Task:
    """A job that was handed to Ray; `begun` (monotonic) on a node, and `asked` to stop."""

    job: Job
    begun: float | None = None
    asked: bool = False

    def begin(self) -> Iterator[News]:
        if self.begun is None:
            self.begun = time.monotonic()
            yield News(self.job, "started")


class Tasks:
    """Jobs that wait, jobs that were handed to Ray, and what is heard of them.

    Args:
        ray: the module, connected to a cluster.
        jobs: what to do, with absolute paths.
        settings: GPUs, runs at a time, time limit.
        token: a file in the results folder.
    """

    def __init__(self, ray: Any, jobs: Sequence[Job], settings: Launch, token: Path) -> None:
        self._ray, self._settings, self._token = ray, settings, token
        self._waiting = deque(jobs)
        self._most = settings.workers or len(jobs)
        self._running: dict[Any, _Task] = {}
        self._tries: Counter[str] = Counter()
        # Ray's own retries don't say why, start the time limit unseen and, where memory runs out, never end.
        self._work = ray.remote(max_retries=0, num_gpus=settings.gpus)(work)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        restarts = {"max_restarts": -1, "max_task_retries": -1}
        self._desk = ray.remote(num_cpus=0, scheduling_strategy=here, **restarts)(Desk).remote()

    def news(self, stopped: Callable[[], bool]) -> Iterator[News]:
        """Hand out the jobs and yield what happens until all have ended.

        Args:
            stopped: says whether nobody listens any more.

        Raises:
            UserError: the node of this machine died.
        """
        while (self._waiting or self._running) and not stopped():
            while self._waiting and len(self._running) < self._most:
                self._hand_out(self._waiting.popleft())
            running = list(self._running)
            self._ray.wait(running, timeout=_POLL_SECONDS)
            ended, _ = self._ray.wait(running, num_returns=len(running), timeout=0)
            yield from self._heard()
            for ref in ended:
                yield from self._ended(ref, self._running.pop(ref))
            self._stop_overdue()

    def cancel(self) -> None:
        """Interrupt what still runs; what does not end in time is killed with the connection."""
        left = list(self._running)
        # Without the node of this machine nothing can be cancelled; Ray ends what its driver has left.
        with suppress(self._ray.exceptions.RayError):
            for ref in left:
                self._ray.cancel(ref)
            if left:
                self._ray.wait(left, num_returns=len(left), timeout=_CANCEL_SECONDS)

    def _hand_out(self, job: Job) -> None:
        # Without a reserved GPU a run must not take one: others have reserved it.
        device = "cpu" if job.device == "auto" and not self._settings.gpus else job.device
        ref = self._work.options(num_cpus=job.threads).remote(
            replace(job, device=device), self._token, platform.node(), Path.cwd(), self._desk
        )
        self._running[ref] = _Task(job)

    def _heard(self) -> Iterator[News]:
        try:
            latest = self._ray.get(self._desk.take.remote(), timeout=10)
        except self._ray.exceptions.RayError:
            return  # progress is lost, results are not
        for task in self._running.values():
            if news := latest.get(task.job.run_id):
                yield from task.begin()
                if news.kind != "started":
                    yield replace(news, job=task.job)

    def _stop_overdue(self) -> None:
        """Ask tasks that are over the limit to stop; kill those that have not done so in time."""
        for ref, task in self._running.items():
            if self._settings.time_limit is None or task.begun is None:
                continue
            over = time.monotonic() - task.begun - self._settings.time_limit
            if over >= (GRACE_SECONDS if task.asked else 0):
                self._ray.cancel(ref, force=task.asked)
                task.asked = True

    def _ended(self, ref: Any, task: _Task) -> Iterator[News]:
        job = task.job
        try:
            news: News = replace(self._ray.get(ref), job=job)
        except self._ray.exceptions.LocalRayletDiedError:
            raise UserError(
                "the Ray node of this machine died, and with it the way to the cluster; finished runs are "
                "kept, the same command resumes once the node is back"
            ) from None
        except self._ray.exceptions.RayError as error:
            news = self._failed(task, error)
        if news.out_of_memory:
            news = self._crashed(job, news.note, news.log)
        yield from task.begin()
        yield news
        if news.kind == "retrying":
            self._waiting.appendleft(job)
        elif news.kind == "elsewhere":
            # The others first; by then it may be finished.
            self._waiting.append(job)

    def _failed(self, task: _Task, error: Exception) -> News:
        """Say why a task has no result: stopped, a bug in it, or the death of its process or node."""
        if task.asked:
            return over_limit(task.job, self._settings.time_limit or 0.0)
        if "No module named 'sla_bench" in str(error):
            note = "a node of the Ray cluster has no sla_bench; install the same version on each"
            return News(task.job, "failed", note=note, exit_code=2)
        if isinstance(error, self._ray.exceptions.RayTaskError):
            last = str(error).strip().splitlines()[-1]
            return News(task.job, "failed", note=last, log=str(error), exit_code=1)
        kinds = [kind.__name__ for kind in type(error).__mro__]
        unknown = f"{kinds[0]}: {' '.join(str(error).split())[:200]}"
        return self._crashed(task.job, next((_DEATHS[k] for k in kinds if k in _DEATHS), unknown))

    def _crashed(self, job: Job, how: str, log: str = "") -> News:
        self._tries[job.run_id] += 1
        return crashed(job, self._tries[job.run_id], _RETRIES, how, log)
