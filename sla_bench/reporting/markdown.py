"""The leaderboard as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from sla_bench.reporting.summaries import below, over_datasets
from sla_bench.reporting.table_texts import (
    HEADINGS,
    best_rows,
    blocks,
    cells_of,
    further_metrics,
    notes,
    one_line,
    title_of,
)

_BOLD = ("accuracy %", "gain %")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SPECIAL = re.compile(r"[\\`*|\[\]$~]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")


def markdown(table: pd.DataFrame) -> str:
    """The leaderboard as Markdown: notes, then one table per data set and training, summaries below it.

    In bold: the best method of a setting and learner where it gains (Holm-adjusted p < 0.05) over the row's
    reference, and more than one model was trained.
    """
    lines = ["# Leaderboard", ""]
    if table.empty:
        return "\n".join([*lines, "No finished runs yet.", ""])
    for note in notes(table):
        lines += [escape_markdown(note), ""]
    for part in blocks(table):
        lines += [f"## {escape_markdown(title_of(part))}", ""]
        accuracies = part[part["metric"] == "accuracy"]
        bold = set(best_rows(accuracies))
        rows = [_marked(cells_of(row), number in bold) for number, row in accuracies.iterrows()]
        lines += [*_table(HEADINGS, rows), ""]
        for sentence in below(part):
            lines += [escape_markdown(sentence), ""]
        further = further_metrics(part)
        if not further.empty:
            texts = [[escape_markdown(cell) for cell in row] for row in further.to_numpy().tolist()]
            lines += [*_table(list(further.columns), texts), ""]
    for title, sentences in over_datasets(table):
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
    escaped = _SPECIAL.sub(lambda found: "\\" + found[0], one_line(text))
    return "".join(_ENTITIES.get(c, c) for c in escaped)


def _marked(cells: Sequence[str], bold: bool) -> list[str]:
    texts = [escape_markdown(cell) for cell in cells]
    for place, heading in enumerate(HEADINGS):
        if bold and heading in _BOLD:
            texts[place] = f"**{texts[place]}**"
    return texts


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
