"""The leaderboard as LaTeX tables (booktabs)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import pandas as pd

from sla_bench.scenarios.reading import Row
from sla_bench.tables.summaries import below
from sla_bench.tables.table_texts import (
    BOLD,
    SIGNIFICANT,
    Table,
    accuracies_of,
    accuracy_table,
    blocks,
    definitions,
    further_metrics,
    is_missing,
    notes,
    rows_of,
    title_of,
)
from sla_bench.words import one_line

_PREAMBLE = r"""% Made by sla_bench from its records.
% Needs \usepackage{booktabs} and, with pdfLaTeX, \usepackage[T1]{fontenc}.
"""
_LEFT_OUT = ("open +-", "sign flips p (least)", "train s")  # for the width of a page
_WORDS = ("method", "best", "against", "compared at", "verdict", "published")
_SPECIAL: dict[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\N{DOUBLE DAGGER}": r"\textdaggerdbl{}",
    **{c: f"\\{c}" for c in "&%$#_"},
}
_ESCAPES = str.maketrans(_SPECIAL)
_SIGN = re.compile(r"(?<![^ (])([+-])(?=\d)")


def latex(table: pd.DataFrame) -> str:
    r"""The leaderboard as LaTeX, one `table*` per data set and training, and one for other metrics.

    In bold: the best method of a setting and learner where it gains (p < 0.05, Holm-adjusted but for the
    primary contrast) over the row's reference. Labels are `tab:<scenario>-<number>`.
    """
    number = itertools.count(1)
    parts = [_PREAMBLE]
    for block in blocks(rows_of(table)):
        label = f"tab:{block[0]['scenario']}"
        parts.append(_table_of_accuracies(block, f"{label}-{next(number)}"))
        further = further_metrics(block)
        if further.lines:
            caption = [f"{title_of(block)}: other metrics.", *definitions(block)]
            parts.append(_table(further, caption, f"{label}-{next(number)}"))
    return "\n".join(parts)


def escape_latex(text: str) -> str:
    r"""Make LaTeX print a text as it is, in a cell, a caption or a heading.

    >>> escape_latex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    escaped = one_line(text).translate(_ESCAPES)
    return escaped.replace("--", "-{}-").replace("--", "-{}-")


def _table_of_accuracies(block: Sequence[Row], label: str) -> str:
    table = accuracy_table(block).without(_LEFT_OUT)
    caption = [f"{title_of(block)}.", *below(block), *notes(block)]
    least = {
        row["gain_seeds"]: row["smallest_p"]
        for row in accuracies_of(block)
        if not is_missing(row["smallest_p"])
    }
    caption += [f"With {n:.0f} seeds no sign-flip p is below {p:.2g}." for n, p in sorted(least.items())]
    if table.bold:
        caption.append(
            "Bold: the best method of its setting and learner, where it gains over the reference of its row "
            f"(p < {SIGNIFICANT}, Holm-adjusted but for the primary contrast)."
        )
    return _table(table, caption, label)


def _body(table: Table) -> Iterator[str]:
    """Lines of the body; setting and learner stand above the rows that share them."""
    before: list[str] | None = None
    for place, line in enumerate(table.lines):
        names = line[:2]
        if names != before:
            if before is not None:
                yield r"\addlinespace"
            yield rf"\multicolumn{{{len(line) - 2}}}{{l}}{{\emph{{{_set(', '.join(names))}}}}} \\"
        bold = BOLD if place in table.bold else ()
        cells = zip(table.headings[2:], map(_set, line[2:]), strict=True)
        yield " & ".join(rf"\textbf{{{text}}}" if name in bold else text for name, text in cells) + r" \\"
        before = names


def _set(text: str) -> str:
    """Signs before digits are set as such, everything else is text."""
    pieces = []
    for part in re.split(r"( \+- )", text):
        if part == " +- ":
            pieces.append(r" $\pm$ ")
            continue
        ends = _SIGN.split(part)
        pieces += [f"${piece}$" if place % 2 else escape_latex(piece) for place, piece in enumerate(ends)]
    return "".join(pieces)


def _table(table: Table, caption: Sequence[str], label: str) -> str:
    """A table whose first two columns, setting and learner, head groups of rows."""
    shown = table.headings[2:]
    columns = "".join("l" if heading in _WORDS else "r" for heading in shown)
    lines = [
        r"\begin{table*}",
        r"  \centering",
        rf"  \caption{{{' '.join(map(_set, caption))}}}",
        rf"  \label{{{label}}}",
        r"  \scriptsize",
        r"  \setlength{\tabcolsep}{3pt}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        "    " + " & ".join(map(_set, shown)) + r" \\",
        r"    \midrule",
        *(f"    {line}" for line in _body(table)),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table*}",
        "",
    ]
    return "\n".join(lines)
