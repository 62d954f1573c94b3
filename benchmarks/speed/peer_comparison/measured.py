"""From comparisons to rows: one per implementation and number of threads."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, NamedTuple

import torch

from benchmarks.speed.peer_comparison.topics import OURS, Comparison, Topic
from benchmarks.speed.timing import interleaved, quartiles
from sla_bench.records.environment import describe

Row = dict[str, Any]
COLUMNS = (
    "what",
    "setting",
    "unit",
    "threads",
    "implementation",
    "version",
    "median_ms",
    "q1_ms",
    "q3_ms",
    "repetitions",
    "ratio",
    "difference",
    "note",
    "processor",
    "load",
    "date",
)


class Effort(NamedTuple):
    """How long to measure.

    Args:
        rounds: times of each implementation, at most.
        seconds: a time is the mean over at least so many.
        limit: after so many an implementation is not run again.
        once: nor is one that takes so many the first time.
    """

    rounds: int
    seconds: float
    limit: float
    once: float


def failures(comparison: Comparison, threads: int) -> dict[str, str]:
    """Implementation -> what is wrong with it on so many threads, for those that agreed on one."""
    found = {}
    with threads_set(threads):
        for name, each in comparison.implementations.items():
            try:
                agrees, reason = each.agrees(), "another result than on one"
            except RuntimeError as error:
                agrees, reason = False, str(error).partition(". ")[0]
            if not agrees:
                found[name] = f"fails on {threads} threads: {reason}"
    return found


def measure(
    topic: Topic, comparison: Comparison, threads: int, effort: Effort, failed: Mapping[str, str]
) -> list[Row]:
    """Time the implementations of a setting in turn, on so many threads; those that `failed` get a note."""
    load = os.getloadavg()[0]
    working = {name: each for name, each in comparison.implementations.items() if name not in failed}
    with threads_set(threads):
        times = interleaved({name: each.run for name, each in working.items()}, *effort)
    _, ours, _ = quartiles(times[OURS])
    rows = []
    for name, each in working.items():
        low, median, high = quartiles(times[name])
        rows.append(
            _row(
                topic,
                setting=comparison.setting,
                threads=threads,
                implementation=name,
                version=f"{each.package} {metadata.version(each.package)}",
                median_ms=median,
                q1_ms=low,
                q3_ms=high,
                repetitions=len(times[name]),
                ratio=median / ours,
                difference=each.difference,
                load=round(load, 2),
            )
        )
    for name, note in failed.items():
        rows.append(_row(topic, setting=comparison.setting, threads=threads, implementation=name, note=note))
    return rows


@contextlib.contextmanager
def threads_set(threads: int) -> Iterator[None]:
    """So many threads of torch inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def absent(topic: Topic) -> Iterator[Row]:
    """Rows without a time, of the libraries that have no counterpart."""
    for name, reason in topic.without.items():
        yield _row(topic, implementation=name, note=reason)


def _row(topic: Topic, **values: Any) -> Row:
    processor = describe(1, "cpu")["processor"]
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    known = {"what": topic.what, "unit": topic.unit, "processor": processor, "date": date, **values}
    return {column: known.get(column) for column in COLUMNS}
