"""One job on a node of a Ray cluster. Ray itself is not imported here: a task is a plain function."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sla_bench.datasets.named import default_data_root
from sla_bench.errors import UserError
from sla_bench.grid import Task
from sla_bench.harness.jobs import Job, make_jobs, perform
from sla_bench.harness.launching import News, attempt, thread_limits
from sla_bench.harness.record_transfer import Record, pack, unpack
from sla_bench.harness.stopping import Stop, StoppedError, stop_on

if TYPE_CHECKING:
    from sla_bench.training import Progress

_NEWS_INTERVAL = 0.5


@dataclass(frozen=True)
class Ticket:
    """What a task is told.

    Args:
        job: with absolute paths, as the driver sees them.
        token: a file in the results folder; a node that sees it shares the folder.
        host: name of the driver's machine.
        folder: the driver's working directory, for the paths of `folder:PATH`.
        trained: the driver has the training on record.
        record: the driver's record, for a node that does not see it.
    """

    job: Job
    token: Path
    host: str
    folder: Path
    trained: bool = False
    record: Record = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Args:
        news: "done" or "failed"; None: the task needs the driver's record and was not begun.
        record: what is to be written where the results are; empty if the node did that itself.
    """

    news: News | None
    record: Record = field(default_factory=dict)


class Desk:
    """An actor that keeps the latest news of each job until the driver asks for them."""

    def __init__(self) -> None:
        self._latest: dict[str, News] = {}

    def put(self, news: News) -> None:
        """Take news; what the driver has not asked for is forgotten."""
        self._latest[news.job.run_id] = news

    def take(self) -> list[News]:
        """Give the news since the last time."""
        latest, self._latest = self._latest, {}
        return list(latest.values())


def work(ticket: Ticket, desk: Any) -> Outcome:
    """Do a job on this node and hand back how it ended, and its record unless the results folder is shared.

    Args:
        ticket: the job.
        desk: handle of the `Desk` actor.
    """
    return work_and_tell(ticket, desk.put.remote)


def work_and_tell(ticket: Ticket, tell: Callable[[News], None]) -> Outcome:
    """As `work`, with any function that takes the news.

    Raises:
        KeyboardInterrupt: Ray has cancelled the task; a training has left a checkpoint.
    """
    # Ray cancels a task as Ctrl-C would.
    try:
        with stop_on(signal.SIGINT) as stop:
            return _work(ticket, tell, stop)
    except StoppedError:
        raise KeyboardInterrupt from None


def _work(ticket: Ticket, tell: Callable[[News], None], stop: Stop) -> Outcome:
    job = ticket.job
    shared = ticket.token.exists()
    if not shared and ticket.trained and not ticket.record:
        return Outcome(None)
    with suppress(OSError):
        os.chdir(ticket.folder)
    if not job.data_root.exists() and "SLA_BENCH_DATA" in os.environ:
        job = replace(job, data_root=default_data_root())
    tell(News(job, "started"))

    def do(job: Job, progress: Progress) -> None:
        if platform.node() != ticket.host:
            _check_data(job)
        perform(job, progress, stop=stop)

    with thread_limits(job.run.threads):
        if shared:
            return Outcome(attempt(job, do, tell, _NEWS_INTERVAL))
        with TemporaryDirectory(prefix="sla-bench-") as folder:
            own = replace(job, out=Path(folder))
            unpack(ticket.record, own)
            return Outcome(attempt(own, do, tell, _NEWS_INTERVAL), pack(own))


def _check_data(job: Job) -> None:
    """Hold the data and the code of this node against what the driver named the job after.

    Raises:
        UserError: they are others; the figures would stand under a wrong name.
    """
    task = Task(job.run, tuple(job.evaluations.values()))
    (ours,) = make_jobs([task], job.data_root, job.out, job.device)
    if (ours.run_id, ours.evaluations.keys()) != (job.run_id, job.evaluations.keys()):
        raise UserError(
            f"node {platform.node()} has other data in {job.data_root}, or another sla_bench, than the "
            "machine where the command was given; make them the same"
        )
