"""Both ends of a Ray task: the node, and the desk."""

from __future__ import annotations

import os
import platform
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sla_bench.data.named import default_data_root
from sla_bench.errors import UserError
from sla_bench.grids.tasks import Task
from sla_bench.records.cores import thread_limits
from sla_bench.records.files import write_bytes
from sla_bench.records.in_progress import StoppedError, claim, stop_on
from sla_bench.records.jobs import Job, make_jobs, perform
from sla_bench.records.launching import News, attempt

if TYPE_CHECKING:
    from sla_bench.training.loop import Progress

_PATTERNS = ("*.json", "*.csv", "*.safetensors", "evaluations/*/*.json", "evaluations/*/*.npz")
_NAME = re.compile(r"(evaluations/[0-9a-f]+/)?[a-z_]+\.(json|csv|npz|safetensors)")

Record = dict[str, bytes]
"""Path below the folder of the run -> content; empty where nothing is finished."""


def pack(job: Job) -> Record:
    """Read the finished parts of a job's record: the training, and its finished evaluations."""
    folder = job.store.run_folder(job.run_id)
    if not job.store.has_run(job.run_id):
        return {}
    files = sorted(path for pattern in _PATTERNS for path in folder.glob(pattern))
    finished = [p for p in files if p.parent == folder or (p.parent / "metrics.json").exists()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in finished}


def unpack(record: Record, job: Job) -> None:
    """Write a record into the job's results folder, each mark after what it stands for.

    What is finished there already is left as it is.

    Raises:
        RunClaimedError: another process works on the run there; nothing is written.
        UserError: no permission, the disk is full, or a name that no file of a record has; then nothing is
            written.
    """
    for name in record:
        if not _NAME.fullmatch(name):
            raise UserError(
                f"run {job.run_id}: {name[:200]!r} is not a file of a record; nothing was written"
            )
    if record:
        with claim(job.store.lock_file(job.run_id)):
            _write(record, job)


def _write(record: Record, job: Job) -> None:
    folder, has_run = job.store.run_folder(job.run_id), job.store.has_run(job.run_id)
    present = {e for e in job.evaluations if job.store.has_evaluation(job.run_id, e)}
    # Where done.json or metrics.json is missing, the record is not there.
    for name in sorted(record, key=lambda name: (name == "done.json", name.endswith("/metrics.json"))):
        path = folder / name
        if has_run if path.parent == folder else path.parent.name in present:
            continue
        write_bytes(path, record[name])


_NEWS_INTERVAL = 0.5


class Desk:
    """An actor on the command's machine: keeps the latest news of each run, reads and writes records."""

    def __init__(self) -> None:
        self._latest: dict[str, News] = {}

    def put(self, news: News) -> None:
        """Take news; what the command has not asked for is forgotten."""
        self._latest[news.job.run_id] = news

    def take(self) -> dict[str, News]:
        """Give run_id -> news since the last time."""
        latest, self._latest = self._latest, {}
        return latest

    def read(self, job: Job) -> Record:
        """Give what is recorded of a job; see `pack`."""
        return pack(job)

    def write(self, record: Record, job: Job) -> None:
        """Record a job that a node without the results folder has done; see `unpack`."""
        unpack(record, job)


def work(job: Job, token: Path, host: str, folder: Path, desk: Any) -> News:
    """Do a job on this node and say how it ended: "done", "failed" or "elsewhere".

    Args:
        job: with absolute paths, as the command sees them.
        token: a file in the results folder; a node that does not see it sends its record to the desk.
        host: name of the command's machine.
        folder: the command's working directory, for the paths of `folder:PATH`.
        desk: handle of the `Desk` actor.

    Raises:
        KeyboardInterrupt: Ray has cancelled the task; a training has left a checkpoint.
    """
    from ray.exceptions import RayTaskError

    def ask(method: str, *arguments: Any) -> Any:
        # While a task waits in ray.get, Ray gives its CPUs to another one.
        answer = getattr(desk, method).remote(*arguments).future()
        try:
            return answer.result()
        except RayTaskError as error:
            raise error.cause from None

    return work_here(job, token, host, folder, desk.put.remote, ask)


def work_here(
    job: Job, token: Path, host: str, folder: Path, tell: Callable[[News], Any], ask: Callable[..., Any]
) -> News:
    """As `work`, without Ray: `tell` takes news, `ask(method, *arguments)` calls the desk and waits.

    Raises:
        KeyboardInterrupt: as `work`.
    """
    shared = token.exists()
    with suppress(OSError):
        os.chdir(folder)
    if not job.data_root.exists() and "SLA_BENCH_DATA" in os.environ:
        job = replace(job, data_root=default_data_root())
    tell(News(job, "started"))

    def do(job: Job, progress: Progress) -> None:
        if platform.node() != host:
            _check_data(job)
        if shared:
            perform(job, progress, stop=stop)
            return
        with TemporaryDirectory(prefix="sla-bench-") as own_folder:
            own = replace(job, out=Path(own_folder))
            unpack(ask("read", job), own)
            try:
                perform(own, progress, stop=stop)
            finally:
                ask("write", pack(own), job)

    # Ray cancels a task as Ctrl-C would.
    try:
        with stop_on(signal.SIGINT) as stop, thread_limits(job.threads):
            return attempt(job, do, tell, _NEWS_INTERVAL)
    except StoppedError:
        raise KeyboardInterrupt from None


def _check_data(job: Job) -> None:
    """Hold the data and the code of this node against what the command named the job after.

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
