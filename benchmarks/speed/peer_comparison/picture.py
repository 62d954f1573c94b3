"""How many times as long as ours the others take, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import blended_transform_factory

from benchmarks.speed.peer_comparison.measured import Row
from benchmarks.speed.peer_comparison.topics import OURS, PEERS
from sla_bench.tables.figures import style

SETTING_INCHES, NAME_INCHES = 1.12, 0.98
# Libraries have colours of their own; ways that are nobody's in particular are grey.
COLOURS = dict(zip(PEERS, style.COLOURS, strict=False))
OTHER_WAYS = "#999999"
_NUMBER_INCHES = 0.36
_AXIS = 0.36


def bars_of(rows: Sequence[Row]) -> list[Row]:
    """The rows that become bars: others than ours that were timed, on the fewest threads."""
    timed = [row for row in rows if row["ratio"] is not None and row["implementation"] != OURS]
    fewest = min((row["threads"] for row in timed), default=0)
    return [row for row in timed if row["threads"] == fewest]


def speed_figure(rows: Sequence[Row]) -> Figure:
    """Ratios on a logarithmic axis, one bar per setting and implementation, a stroke for more threads.

    Args:
        rows: as `measure` makes them; at least one other than ours.
    """
    bars = bars_of(rows)
    lines = _lines_of(bars)
    note = style.wrap(_note(rows, bars), int((style.COLUMN_INCHES - 0.1) / style.PROSE_INCHES))
    with style.styled():
        plot = style.LINE_INCHES * lines.count
        height = plot + _AXIS + style.LINE_INCHES * (1 + note.count("\n")) + 0.08
        figure = style.new_figure(style.COLUMN_INCHES, height)
        left = SETTING_INCHES + NAME_INCHES
        axes = figure.add_axes(
            (
                left / style.COLUMN_INCHES,
                1 - plot / height,
                (style.COLUMN_INCHES - left - _NUMBER_INCHES) / style.COLUMN_INCHES,
                (plot - 0.02) / height,
            )
        )
        _axis(axes, rows, lines.count)
        for place, row in zip(lines.bars, bars, strict=True):
            _bar(axes, place, row, COLOURS.get(row["implementation"], OTHER_WAYS))
        for row in rows:
            if (match := _same(row, bars)) is not None and row["threads"] != bars[0]["threads"]:
                axes.vlines(
                    row["ratio"], *(lines.bars[match] + np.array([-0.42, 0.42])), color="black", lw=1.0
                )
        _left(axes, lines.headings, bold=True)
        _left(axes, lines.settings)
        _names(axes, lines.bars, bars)
        figure.text(0.05 / style.COLUMN_INCHES, 0.05 / height, note, va="bottom", color=style.GREY)
    return figure


class _Lines(NamedTuple):
    """Where everything stands, in lines from the top: the middle of its own or of its first line."""

    bars: list[float]
    headings: list[tuple[float, str]]
    settings: list[tuple[float, str]]
    count: float


def _lines_of(bars: Sequence[Row]) -> _Lines:
    """A line for each topic, then one for each bar, or as many as the name of the setting takes."""
    lines = _Lines([], [], [], 0.0)
    at = free = 0.0
    before: tuple[str | None, str | None] = (None, None)
    for row in bars:
        now = row["what"], row["setting"]
        if now != before:
            at = max(at, free)
        if now[0] != before[0]:
            at += 0.0 if before[0] is None else 0.4
            lines.headings.append((at + 0.5, row["what"]))
            at += 1.0
        if now != before:
            text = style.wrap(row["setting"], int(SETTING_INCHES / style.CHARACTER_INCHES))
            lines.settings.append((at + 0.5, text))
            free = at + 1.15 + text.count("\n")
        lines.bars.append(at + 0.5)
        at += 1.0
        before = now
    return lines._replace(count=max(at, free) + 0.2)


def _axis(axes: Axes, rows: Sequence[Row], end: float) -> None:
    ratios = np.array([row["ratio"] for row in rows if row["ratio"] is not None])
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, ratios.min() / 1.1), max(2.0, ratios.max() * 1.1))
    axes.set_ylim(end, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(1, color="black", linewidth=0.6)
    axes.set_xlabel("Time in units of ours", labelpad=2)


def _bar(axes: Axes, place: float, row: Row, colour: str) -> None:
    ratio = row["ratio"]
    axes.barh(place, ratio - 1, left=1, height=0.72, color=colour, linewidth=0)
    spread = np.array([row["q1_ms"], row["q3_ms"]]) * ratio / row["median_ms"]
    axes.hlines(place, *spread, color=style.GREY, linewidth=0.8)
    axes.annotate(
        number_of(ratio),
        (1, place),
        xycoords=("axes fraction", "data"),
        xytext=(style.POINTS_PER_INCH * (_NUMBER_INCHES - 0.03), 0),
        textcoords="offset points",
        ha="right",
        va="center",
    )


def number_of(ratio: float) -> str:
    """Two digits, or all of those before the point.

    >>> number_of(0.389), number_of(2.36), number_of(1226.4)
    ('0.39', '2.4', '1,226')
    """
    return f"{ratio:,.{2 if ratio < 1 else 1 if ratio < 10 else 0}f}"


def _left(axes: Axes, texts: Sequence[tuple[float, str]], bold: bool = False) -> None:
    """Texts at the left edge of the page, the middle of their first line at a place."""
    for place, text in texts:
        axes.annotate(
            text,
            (0, place - 0.5),
            xycoords=blended_transform_factory(axes.transAxes, axes.transData),
            xytext=(style.POINTS_PER_INCH * (0.03 - SETTING_INCHES - NAME_INCHES), -1),
            textcoords="offset points",
            va="top",
            fontweight="bold" if bold else "normal",
            linespacing=style.LINE_INCHES * style.POINTS_PER_INCH / style.FONT_POINTS / 1.17,
        )


def _names(axes: Axes, places: Sequence[float], bars: Sequence[Row]) -> None:
    for place, row in zip(places, bars, strict=True):
        axes.annotate(
            row["implementation"],
            (0, place),
            xycoords=("axes fraction", "data"),
            xytext=(-0.06 * style.POINTS_PER_INCH, 0),
            textcoords="offset points",
            ha="right",
            va="center",
        )


def _same(row: Row, bars: Sequence[Row]) -> int | None:
    key = ("what", "setting", "implementation")
    found = [n for n, bar in enumerate(bars) if all(bar[k] == row[k] for k in key)]
    return found[0] if found else None


def _note(rows: Sequence[Row], bars: Sequence[Row]) -> str:
    threads = bars[0]["threads"]
    more = sorted({row["threads"] for row in rows if row["threads"]} - {threads})
    sentences = [
        "How many times as long as ours the others take for the same result (medians, interleaved).",
        f"Bars: {threads} thread{'s' if threads > 1 else ''}; thin lines: quartiles.",
    ]
    if more:
        sentences.append(f"Black strokes: {', '.join(map(str, more))} threads.")
    return " ".join(sentences)
