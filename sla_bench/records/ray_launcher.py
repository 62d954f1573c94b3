"""Jobs on a Ray cluster, through a process that connects to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

from sla_bench.errors import UserError
from sla_bench.records.files import write_text
from sla_bench.records.jobs import Job
from sla_bench.records.launch_options import Launch
from sla_bench.records.launching import News
from sla_bench.records.planning import room_of
from sla_bench.records.ray_tasks import Tasks

_TOUCH_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_START_SECONDS = 180.0
_SHUTDOWN_SECONDS = 20.0
_OWN_OBJECT_STORE = 100 * 2**20
"""Bytes; in a cluster on this machine all runs share the results folder, and next to nothing is stored."""


def launch(jobs: Sequence[Job], settings: Launch) -> Iterator[News]:
    """Do the jobs on a Ray cluster and yield what happens, as it happens.

    A job whose node or process dies is started again, three times at most. However the generator is left,
    the tasks are cancelled, and a cluster that was started here is stopped.

    Args:
        jobs: what to do; the cluster decides where and, with room for several, in which order.
        settings: address of the cluster, GPUs per run, runs at a time, time limit.

    Raises:
        UserError: Ray is not installed, no cluster answers, its versions differ from ours, no node has room
            for a run, or the cluster went away.
    """
    address = settings.ray_address or os.environ.get("RAY_ADDRESS") or None
    log = jobs[0].store.folder.absolute() / "logs" / "ray.log"
    silence, seconds = f"Ray could not start a cluster on this machine, see {log}", _START_SECONDS
    if address is not None:
        silence, seconds = _no_answer(address), _ANSWER_SECONDS
        _check(address)
    absolute = [replace(j, out=j.out.absolute(), data_root=j.data_root.absolute()) for j in jobs]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_drive, args=(theirs, absolute, settings, address, log), daemon=True)
    process.start()
    theirs.close()
    # Nothing is lost where the cluster of others was not reached; a cluster of our own has to be stopped.
    patience = 0.0 if address else _SHUTDOWN_SECONDS
    try:
        _next(ours, seconds, silence)
        patience = _SHUTDOWN_SECONDS
        lost = f"the Ray cluster went away (see {log}); finished runs are kept, the same command resumes"
        while isinstance(news := _next(ours, None, lost), News):
            yield news
    finally:
        ours.close()
        process.join(patience)
        process.kill()
        process.join()


def _next(connection: Connection, seconds: float | None, silence: str) -> Any:
    """Receive something; `silence` is the error if nothing comes in time, or the process died."""
    try:
        message = connection.recv() if connection.poll(seconds) else UserError(silence)
    except (EOFError, OSError):
        message = UserError(silence)
    if isinstance(message, UserError):
        raise message
    return message


def _check(address: str) -> None:
    """Refuse addresses of another form, and those where nothing listens: Ray would try for two minutes."""
    host, colon, port = address.rpartition(":")
    if address == "auto":
        return
    if "/" in address or not (host and colon and port.isdigit()):
        raise UserError(f"--ray-address {address!r}: write HOST:PORT, as in 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TOUCH_SECONDS).close()
    except (OSError, OverflowError):
        raise UserError(_no_answer(address)) from None


def _no_answer(address: str) -> str:
    return (
        f"no Ray cluster answers at {address}; start one with `ray start --head`, and let this machine join "
        "it with `ray start --address`"
    )


def _drive(
    connection: Connection, jobs: Sequence[Job], settings: Launch, address: str | None, log: Path
) -> None:
    """Do the jobs and send the news, until all have ended or the other end of the connection is closed.

    This is the body of a process because Ray prints to the terminal, takes the handler of SIGTERM, and ends
    the process when the cluster can't be reached or goes away. What it prints goes to `log`. The connection
    takes a word once the cluster is there, the news, and a word or a UserError at the end.
    """
    # Ctrl-C reaches the whole process group; the other end decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    try:
        with _cluster(jobs, settings, address) as ray, _token(jobs[0].out) as token:
            connection.send("connected")
            tasks = Tasks(ray, jobs, settings, token)
            try:
                for news in tasks.news(stopped=connection.poll):
                    connection.send(news)
            finally:
                tasks.cancel()
        connection.send("finished")
    except UserError as error:
        connection.send(error)
    except BrokenPipeError:
        pass


@contextmanager
def _cluster(jobs: Sequence[Job], settings: Launch, address: str | None) -> Iterator[Any]:
    """Connect to a cluster with room for a run, or start one; yield the module."""
    try:
        import ray
    except ImportError as error:
        why = "" if error.name == "ray" else f" (it is there, but {error})"
        raise UserError(f"Ray is not installed{why}: pip install 'sla-bench[ray]'") from None
    options: dict[str, Any] = {"address": address or "local"}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        cores = max(room_of(settings).cores, *(job.threads for job in jobs))
        options |= {"num_cpus": cores, "object_store_memory": _OWN_OBJECT_STORE, "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:
        raise UserError(f"Ray {f'at {address}' if address else 'here'}: {error}") from error
    try:
        _check_room(ray.nodes(), jobs, settings.gpus)
        yield ray
    finally:
        ray.shutdown()


def _check_room(nodes: Sequence[dict[str, Any]], jobs: Sequence[Job], gpus: float) -> None:
    """Refuse what no node could ever take; Ray would wait for such a node for ever."""
    threads = max(job.threads for job in jobs)
    rooms = [n["Resources"] for n in nodes if n["Alive"]]
    if not any(r.get("CPU", 0) >= threads and r.get("GPU", 0) >= gpus for r in rooms):
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
