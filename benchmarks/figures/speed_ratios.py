"""What the table of `benchmarks/speed/peers.py` says of ours against the others."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.figures.result_files import TableRow, number

OURS = "sla_bench"


def others(rows: Iterable[TableRow], setting: str) -> list[TableRow]:
    """The timed rows of a setting that are not of our own implementation."""
    return [r for r in rows if r["setting"] == setting and r["implementation"] != OURS and r["ratio"]]


def settings(rows: Iterable[TableRow]) -> list[str]:
    """The settings that were timed, in the order of the file."""
    return list(dict.fromkeys(row["setting"] for row in rows if row["ratio"]))


def least_ratios(rows: Iterable[TableRow]) -> list[float]:
    """The time of the best of the others, divided by ours, of each setting that one of them knows."""
    rows = list(rows)
    timed = [others(rows, setting) for setting in settings(rows)]
    return [min(number(row, "ratio") for row in group) for group in timed if group]
