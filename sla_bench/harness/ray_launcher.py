"""Jobs as tasks of a Ray cluster, through a process that speaks with it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sla_bench.errors import UserError
from sla_bench.harness.jobs import Job
from sla_bench.harness.launch_options import Launch
from sla_bench.harness.launching import News
from sla_bench.harness.ray_driver import CONNECTED, CONNECTING, drive

_IMPORT_SECONDS = 60.0
_ANSWER_SECONDS = 12.0
_START_SECONDS = 180.0
_SHUTDOWN_SECONDS = 20.0


def launch(jobs: Sequence[Job], settings: Launch) -> Iterator[News]:
    """Do the jobs on a Ray cluster and yield what happens, as it happens.

    A job whose node or process dies is started again, three times at most. However the generator is left,
    the tasks are cancelled, and a cluster that was started here is stopped.

    Args:
        jobs: what to do; the cluster decides where and, with room for several, in which order.
        settings: address of the cluster, GPUs per run, runs at a time.

    Raises:
        UserError: Ray is not installed, no cluster answers, its versions differ from ours, no node has room
            for a run, or the cluster went away.
    """
    address = settings.ray_address or os.environ.get("RAY_ADDRESS") or None
    if address is not None:
        _check(address)
    log = jobs[0].store.folder.absolute() / "logs" / "ray.log"
    absolute = [replace(j, out=j.out.absolute(), data_root=j.data_root.absolute()) for j in jobs]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=drive, args=(theirs, absolute, settings, address, log), daemon=True)
    process.start()
    theirs.close()
    # Nothing is lost where the cluster of others was not reached; a cluster of our own has to be stopped.
    patience = 0.0 if address else _SHUTDOWN_SECONDS
    try:
        _connect(ours, address, log)
        patience = _SHUTDOWN_SECONDS
        lost = f"the Ray cluster went away (see {log}); finished runs are kept, the same command goes on"
        while isinstance(news := _next(ours, None, None, lost), News):
            yield news
    finally:
        ours.close()
        process.join(patience)
        process.kill()
        process.join()


def _connect(connection: Connection, address: str | None, log: Path) -> None:
    _next(connection, _IMPORT_SECONDS, CONNECTING, f"Ray could not be imported, see {log}")
    if address is None:
        silence = f"Ray could not start a cluster on this machine, see {log}"
        _next(connection, _START_SECONDS, CONNECTED, silence)
    else:
        silence = (
            f"no Ray cluster answers at {address}; start one with `ray start --head`, and let this machine "
            "join it with `ray start --address`"
        )
        _next(connection, _ANSWER_SECONDS, CONNECTED, silence)


def _next(connection: Connection, seconds: float | None, expected: str | None, silence: str) -> Any:
    """Receive something; `silence` is the complaint if nothing comes in time, or the process died."""
    try:
        message = connection.recv() if connection.poll(seconds) else None
    except (EOFError, OSError):
        message = None
    if isinstance(message, UserError):
        raise message
    if message is None or (expected is not None and message != expected):
        raise UserError(silence)
    return message


def _check(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if address != "auto" and ("/" in address or not (host and colon and port.isdigit())):
        raise UserError(f"--ray-address {address!r}: write HOST:PORT, as in 10.0.0.1:6379, or auto")
