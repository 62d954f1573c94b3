"""The process that speaks with a Ray cluster, or starts one."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

from sla_bench.errors import UserError
from sla_bench.harness.files import write_text
from sla_bench.harness.jobs import Job
from sla_bench.harness.launch_options import Launch
from sla_bench.harness.launching import usable_cores
from sla_bench.harness.ray_dispatcher import Dispatcher

CONNECTING = "connecting"
"""Sent when Ray is imported."""
CONNECTED = "connected"
"""Sent when the cluster answers."""
FINISHED = "finished"
"""Sent last."""

_OWN_OBJECT_STORE = 100 * 2**20
"""Bytes; in a cluster on this machine all runs share the results folder, and next to nothing is stored."""


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
        ray = _import_ray()
        connection.send(CONNECTING)
        with _cluster(ray, jobs, settings, address):
            connection.send(CONNECTED)
            with _token(jobs[0].out) as token:
                dispatcher = Dispatcher(ray, jobs, settings, token)
                try:
                    for news in dispatcher.news(stopped=connection.poll):
                        connection.send(news)
                finally:
                    dispatcher.cancel()
        connection.send(FINISHED)
    except UserError as error:
        connection.send(error)
    except BrokenPipeError:
        pass
    except Exception:
        traceback.print_exc()
        raise


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        why = "" if error.name == "ray" else f" (it is there, but {error})"
        raise UserError(f"Ray is not installed{why}: pip install 'sla-bench[ray]'") from None
    return ray


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
