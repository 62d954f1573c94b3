"""The leaderboard as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from sla_bench.reporting.reading import Row
from sla_bench.reporting.summaries import below, over_datasets
from sla_bench.reporting.table_texts import (
    HEADINGS,
    accuracies_of,
    best_rows,
    blocks,
    cells_of,
    definitions,
    further_metrics,
    notes,
    rows_of,
    shown_headings,
    title_of,
)
from sla_bench.streams import one_line

_BOLD = ("accuracy %", "gain %")
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
        accuracies = accuracies_of(part)
        bold = set(best_rows(accuracies))
        headings = shown_headings(accuracies)
        texts = [_marked(row, headings, place in bold) for place, row in enumerate(accuracies)]
        lines += [*table_lines(headings, texts), ""]
        for sentence in below(part):
            lines += [escape_markdown(sentence), ""]
        further = further_metrics(part)
        if further.lines:
            texts = [[escape_markdown(cell) for cell in line] for line in further.lines]
            lines += [*table_lines(further.headings, texts), ""]
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


def _marked(row: Row, headings: Sequence[str], bold: bool) -> list[str]:
    texts = {n: escape_markdown(cell) for n, cell in zip(HEADINGS, cells_of(row), strict=True)}
    return [f"**{texts[n]}**" if bold and n in _BOLD else texts[n] for n in headings]


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of cells that are Markdown already."""
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
