"""The drawer of dots with intervals: a row per method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sla_bench.tables.figures import style
from sla_bench.tables.figures.page import head, page

_LABEL_CHARACTERS = 28
_ROW = 0.165


@dataclass(frozen=True)
class DotPanel:
    """What one panel shows.

    Args:
        title: in bold.
        labels: one per row.
        values: (rows, 3) value, low, high; NaN where there is no interval.
        alone: (rows,) True for estimates of one seed.
        is_sla: (rows,) True for label augmentation.
        wider: (rows, 2) low, high of the interval on other test classes; NaN where there is none.
        limits: of the horizontal axis; what is beyond them ends in an arrow head.
        below: a second line of the title, in normal weight.
        key: value of each column of the leaderboard that is the same in all rows, as text.
        ways: of a test episode; None where there are none.
        averaged: (rows,) True where method or reference is a mean over views or crops.
    """

    title: str
    labels: list[str]
    values: np.ndarray
    alone: np.ndarray
    is_sla: np.ndarray
    wider: np.ndarray
    limits: tuple[float, float] = (0.0, 100.0)
    below: str = ""
    key: dict[str, str] = field(default_factory=dict)
    ways: int | None = None
    averaged: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))


def dots_figure(
    panels: Sequence[DotPanel],
    axis_label: str,
    caption: str,
    numbers: Callable[[float, float, float], str],
    decorate: Callable[[Axes, DotPanel], None],
    foot: float = 0.0,
    columns: int | None = None,
) -> Figure:
    """Draw dots with intervals, method by method.

    Args:
        panels: at least one.
        axis_label: of the horizontal axes.
        caption: text below the panels.
        numbers: text at the right of a row, from value, low and high.
        decorate: draws what is special, such as a zero line, on the axes of a panel.
        foot: free space below the last row of a panel, in rows.
        columns: how many; None: one to three, as the number of panels asks for.
    """
    columns = columns or (1 if len(panels) <= 3 else 2 if len(panels) <= 12 else 3)
    labels = [[style.wrap(label, _LABEL_CHARACTERS) for label in panel.labels] for panel in panels]
    row = _ROW + style.LINE_INCHES * max(label.count("\n") for own in labels for label in own)
    heights = [row * (foot + len(own)) for own in labels]
    with page(heights, caption, columns) as (figure, grid):
        for place, (axes, panel, own) in enumerate(zip(grid, panels, labels, strict=True)):
            axes.set_xlim(*panel.limits)
            axes.set_ylim(len(own) - 0.5 + foot, -0.5)
            axes.set_yticks(range(len(own)), own)
            _draw_rows(axes, panel, numbers)
            head(axes, panel.title, panel.below)
            decorate(axes, panel)
            if place + columns >= len(panels):
                axes.set_xlabel(axis_label, labelpad=2)
    return figure


def draw_zero(axes: Axes, panel: DotPanel) -> None:
    """Draw the line of no gain; decorates `dots_figure`."""
    del panel
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)


def gain_text(value: float, low: float, high: float) -> str:
    """`+19.5 [9.6, 29.5]`; without an interval where that is NaN, and never a negative zero."""
    text = f"{value:+z.1f}" + ("" if np.isnan(low) else f" [{low:z.1f}, {high:z.1f}]")
    return text.replace("-", "\N{MINUS SIGN}")


def _draw_rows(axes: Axes, panel: DotPanel, numbers: Callable[[float, float, float], str]) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    style.grid(axes, "x")
    left, right = panel.limits
    for row, (value, low, high) in enumerate(panel.values.tolist()):
        colour = style.FAINT if panel.alone[row] else style.colour_of(panel.is_sla[row])
        if np.isfinite(panel.wider[row]).all():
            axes.hlines(row, *np.clip(panel.wider[row], left, right), color=colour, linewidth=0.5)
        first, last = (value, value) if np.isnan(low) else (low, high)
        if first < last:
            axes.hlines(row, *np.clip((first, last), left, right), color=colour, linewidth=1.1)
        for end, cut, arrow in ((left, first < left, "<"), (right, last > right, ">")):
            if cut:
                axes.plot(end, row, arrow, color=colour, markersize=3, clip_on=False)
        if left <= value <= right:
            axes.plot(value, row, "o", color=colour, markersize=3.4, clip_on=False)
        axes.annotate(
            numbers(value, low, high),
            (1, row),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center_baseline",
            color=colour,
        )
