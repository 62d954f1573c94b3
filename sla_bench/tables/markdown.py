"""The leaderboard as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from sla_bench.tables.summaries import below, over_datasets
from sla_bench.tables.table_texts import (
    BOLD,
    Table,
    accuracy_table,
    blocks,
    definitions,
    further_metrics,
    notes,
    rows_of,
    title_of,
)
from sla_bench.words import one_line

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SPECIAL = re.compile(r"[\\`*|\[\]$~]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")


def markdown(table: pd.DataFrame) -> str:
    """The leaderboard as Markdown: notes, then one table per data set and training, summaries below it.

    In bold: the best method of a setting and learner where it gains (p < 0.05, Holm-adjusted but for the
    primary contrast) over the row's reference.
    """
    lines = ["# Leaderboard", ""]
    if table.empty:
        return "\n".join([*lines, "No finished runs yet.", ""])
    rows = rows_of(table)
    for note in (*notes(rows), *definitions(rows)):
        lines += [escape_markdown(note), ""]
    for part in blocks(rows):
        lines += [f"## {escape_markdown(title_of(part))}", ""]
        lines += [*_table(accuracy_table(part)), ""]
        for sentence in below(part):
            lines += [escape_markdown(sentence), ""]
        further = further_metrics(part)
        if further.lines:
            lines += [*_table(further), ""]
    for title, sentences in over_datasets(rows):
        lines += [f"## Over data sets: {escape_markdown(title)}", ""]
        for sentence in sentences:
            lines += [escape_markdown(sentence), ""]
    return "\n".join(lines)


def escape_markdown(text: str) -> str:
    r"""Make Markdown show a text as it is.

    Underscores inside a word stay: there they mean nothing. Tags become entities, line breaks spaces.

    >>> escape_markdown("a|b <i> fashion_mnist _x_ $y$")
    'a\\|b &lt;i&gt; fashion_mnist \\_x\\_ \\$y\\$'
    """
    return _SPECIAL.sub(r"\\\g<0>", one_line(text)).translate(_ENTITIES)


def _table(table: Table) -> list[str]:
    lines = []
    for place, line in enumerate(table.lines):
        texts = [escape_markdown(cell) for cell in line]
        if place in table.bold:
            texts = [f"**{t}**" if h in BOLD else t for h, t in zip(table.headings, texts, strict=True)]
        lines.append(texts)
    return table_lines(table.headings, lines)


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of cells that are Markdown already."""
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
