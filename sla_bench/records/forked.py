"""Small pieces of work on all cores, by forked processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from sla_bench.records.cores import usable_cores

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def on_all_cores(do: Callable[[ItemT], ResultT], items: Sequence[ItemT], each: int) -> list[ResultT]:
    """Return what `do` returns for each item, in their order.

    The items are shared between this process and forks of it, which know all that this process knows. It does
    all of them itself where there are few, where threads or torch forbid a fork, and on other systems than
    Linux; the share of a fork that dies it does again.

    Args:
        do: changes nothing; its result can be pickled.
        items: of about equal cost.
        each: so many items at least are worth a process.
    """
    processes = min(usable_cores(), len(items) // each)
    if processes < 2 or sys.platform != "linux" or "torch" in sys.modules or threading.active_count() > 1:
        return [do(item) for item in items]
    found: list[Any] = [None] * len(items)
    forks = [_fork(do, items[k::processes]) for k in range(1, processes)]
    found[::processes] = [do(item) for item in items[::processes]]
    for k, connection in enumerate(forks, 1):
        try:
            found[k::processes] = connection.recv()
        except (EOFError, OSError):
            found[k::processes] = [do(item) for item in items[k::processes]]
        finally:
            connection.close()
    return found


def _fork(do: Callable[[ItemT], ResultT], items: Sequence[ItemT]) -> Connection:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, do, items), daemon=True)
    with warnings.catch_warnings():
        # Threads of a linear algebra library, which prepares itself for a fork, count as well.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()
    return ours


def _work(connection: Connection, do: Callable[[ItemT], ResultT], items: Sequence[ItemT]) -> None:
    # The parent does the share again, and says what is wrong.
    with suppress(BaseException):
        connection.send([do(item) for item in items])
    os._exit(0)
