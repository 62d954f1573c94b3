"""The rows as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.speed.peer_comparison.measured import COLUMNS, Row
from benchmarks.speed.peer_comparison.topics import OURS
from sla_bench.tables.markdown import escape_markdown, table_lines

HEADINGS = (
    "setting",
    "threads",
    "implementation",
    "median ms",
    "quartiles",
    "runs",
    "times ours",
    "difference",
)


def csv_text(rows: Iterable[Row]) -> str:
    """All columns, numbers with six digits, nothing where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue()


def markdown_text(rows: Sequence[Row], about: Mapping[str, str], notes: Iterable[str]) -> str:
    """A table per topic.

    Args:
        rows: timed ones and those without a counterpart.
        about: topic -> what its settings have in common.
        notes: sentences on top.
    """
    versions = dict.fromkeys(row["version"] for row in rows if row["version"])
    machine = dict.fromkeys(f"{row['processor']}, {row['date']}" for row in rows)
    loads = [row["load"] for row in rows if row["load"] is not None]
    lines = ["# Speed against the peers", ""]
    lines += [f"{'; '.join([*machine])}; {', '.join(versions)}."]
    if loads:
        lines += [f"Load average when a measurement began: {min(loads):.1f} to {max(loads):.1f}."]
    lines += ["Times are medians; above 1, the last but one column says how much faster ours is.", ""]
    for note in notes:
        lines += [escape_markdown(note), ""]
    for what in dict.fromkeys(row["what"] for row in rows):
        own = [row for row in rows if row["what"] == what]
        lines += [f"## {what}, per {own[0]['unit']}", "", escape_markdown(about[what]), ""]
        lines += [*table_lines(HEADINGS, [list(map(escape_markdown, cells_of(row))) for row in own]), ""]
    return "\n".join(lines)


def cells_of(row: Row) -> list[str]:
    """One line of a table."""
    if row["median_ms"] is None:
        place = [row["setting"] or "(not compared)", str(row["threads"] or "")]
        return [*place, row["implementation"], row["note"], "", "", "", ""]
    return [
        row["setting"],
        str(row["threads"]),
        row["implementation"],
        number(row["median_ms"]),
        f"{number(row['q1_ms'])} to {number(row['q3_ms'])}",
        str(row["repetitions"]),
        "1" if row["implementation"] == OURS else number(row["ratio"]),
        f"{row['difference']:.0e}" if row["difference"] else "0",
    ]


def number(value: float) -> str:
    """Three digits, all of those before the point.

    >>> number(0.01234), number(3.456), number(51234.5)
    ('0.0123', '3.46', '51,234')
    """
    exponent = int(f"{value:.2e}".partition("e")[2])
    return f"{value:,.{max(0, 2 - exponent)}f}"
