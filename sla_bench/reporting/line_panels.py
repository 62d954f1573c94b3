"""Line figures: panels with one line per method, its 95 % band, and its name at the end of the line."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator

from sla_bench.reporting import style
from sla_bench.reporting.panel_grid import panel_grid, width_of
from sla_bench.reporting.panels import interval_limits, text_of
from sla_bench.reporting.row_names import augments_labels
from sla_bench.reporting.table_texts import ONE_SEED

MOST_LINES = 6
"""Of more methods, those with one view of a test image and those with several get panels of their own."""
_PLOT_HEIGHT = 1.7
_LABEL_SHARE = 0.15  # of the axis, for the label of one place
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_MARKERS = "osD^vP"


@dataclass(frozen=True)
class Line:
    """One method.

    Args:
        name: stands at its end.
        x: (n,) ascending, n >= 2.
        values: (n, 3) value, low, high; NaN where there is no interval.
        alone: (n,) True for estimates of one seed.
    """

    name: str
    x: np.ndarray
    values: np.ndarray
    alone: np.ndarray


@dataclass(frozen=True)
class LinePanel:
    """What one panel shows: its title and at least one line."""

    title: str
    lines: list[Line]


def titled_groups(
    rows: pd.DataFrame, named: Sequence[str], further: Sequence[str]
) -> list[tuple[str, pd.DataFrame]]:
    """Split rows into groups of one training and setting, with a title that tells them apart.

    Args:
        rows: of the leaderboard.
        named: columns whose values are always in the title.
        further: columns that split too and are in the title where they vary.
    """
    varying = [column for column in further if rows[column].nunique(dropna=False) > 1]
    found = []
    for _, part in rows.groupby([*named, *varying], sort=False, dropna=False):
        first = part.iloc[0]
        words = [text_of(first[column]) for column in named]
        words += [f"{c.replace('_', ' ')} {text_of(first[c])}" for c in varying if text_of(first[c])]
        found.append((", ".join(filter(None, words)), part))
    return found


def panels_of(title: str, rows: pd.DataFrame, x: str, values: Sequence[str]) -> list[LinePanel]:
    """One line per method with at least two places on the axis; see `MOST_LINES`.

    Args:
        title: of the panel.
        rows: of one training and setting; a method has one row per place.
        x: column of the place on the axis.
        values: columns value, low, high.
    """
    several = rows["query_passes"] > 1
    parts = [(title, rows)]
    if rows["method"].nunique() > MOST_LINES and several.nunique() > 1:
        parts = [
            (f"{title}: one test view", rows[~several]),
            (f"{title}: several test views", rows[several]),
        ]
    panels = []
    for name, part in parts:
        lines = []
        for method, points in part.groupby("method", sort=False):
            if points[x].nunique() > 1:
                ordered = points.sort_values(x)
                alone = (ordered["interval_kind"] == ONE_SEED).to_numpy()
                places, heights = (ordered[c].to_numpy(dtype=np.float64) for c in (x, list(values)))
                lines.append(Line(str(method), places, heights, alone))
        panels += [LinePanel(name, lines)] if lines else []
    return panels


def looks_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker of each method: blue for label augmentation, other colours for the others."""
    names = list(dict.fromkeys(names))
    own = [name for name in names if augments_labels(name)]
    others = [name for name in names if not augments_labels(name)]
    looks = {}
    for group, colours in ((own, (style.BLUE,)), (others, style.COLOURS[1:])):
        pairs = itertools.cycle(itertools.product(_DASHES, colours))
        for place, (name, (dashes, colour)) in enumerate(zip(group, pairs, strict=False)):
            marker = _MARKERS[place // len(colours) % len(_MARKERS)]
            looks[name] = {"color": colour, "linestyle": dashes, "marker": marker}
    return looks


def line_figure(
    panels: Sequence[LinePanel], axis_label: str, value_label: str, caption: str, zero: bool = False
) -> Figure:
    """Draw panels of 3.5 inches on a logarithmic axis, in one to three columns.

    Args:
        panels: at least one.
        axis_label: of the horizontal axes.
        value_label: of the vertical axes.
        caption: text below the panels.
        zero: hold zero and draw a line there.
    """
    looks = looks_of(line.name for panel in panels for line in panel.lines)
    right = 0.26 + style.CHARACTER_INCHES * max(map(len, looks))
    plot = max(_PLOT_HEIGHT, 1.1 * style.LINE_INCHES * max(len(panel.lines) for panel in panels))
    titles = [panel.title for panel in panels]
    with style.styled():
        figure, grid = panel_grid(titles, right, plot, (axis_label, value_label), caption)
        for axes, panel in zip(grid, panels, strict=True):
            _draw(axes, panel, looks, zero)
            name_ends(axes, {one.name: one.values[-1, 0] for one in panel.lines}, looks, plot)
    return figure


def _draw(axes: Axes, panel: LinePanel, looks: dict[str, dict[str, Any]], zero: bool) -> None:
    heights = np.concatenate([line.values for line in panel.lines])
    axes.set_ylim(*interval_limits(heights, [0.0] if zero else []))
    axes.set_xscale("log")
    name_places(axes.xaxis, np.concatenate([line.x for line in panel.lines]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    if zero:
        axes.axhline(0, color="black", linewidth=0.8, zorder=1)
    for line in panel.lines:
        look = looks[line.name]
        own = augments_labels(line.name)
        value, low, high = line.values.T
        if own or len(panel.lines) <= MOST_LINES:
            alpha = 0.16 if own else 0.09
            axes.fill_between(line.x, low, high, color=look["color"], alpha=alpha, linewidth=0, zorder=1.5)
        else:
            axes.vlines(line.x, low, high, color=look["color"], linewidth=0.5, zorder=2)
        axes.plot(
            line.x,
            value,
            color=look["color"],
            linestyle=look["linestyle"],
            linewidth=1.5 if own else 0.9,
            zorder=3 if own else 2.5,
        )
        for x, y, alone in zip(line.x, value, line.alone, strict=True):
            mark(axes, x, y, look["marker"], look["color"], alone)


def mark(
    axes: Axes, x: float, y: float, marker: str, colour: str, alone: bool = False, within: bool = True
) -> None:
    """Draw one marker, in light grey where it stands alone: of one seed.

    `within` says that x and y are in data units; otherwise they are fractions of the axes.
    """
    colour = style.FAINT if alone else colour
    axes.plot(
        x,
        y,
        marker,
        color=colour,
        markersize=3.4,
        markeredgewidth=0.8,
        zorder=3.2,
        clip_on=False,
        transform=axes.transData if within else axes.transAxes,
    )


def name_places(axis: Axis, places: np.ndarray) -> None:
    """Label a logarithmic axis at the places where something was measured, with a margin at both ends.

    Args:
        axis: horizontal, already logarithmic.
        places: where, (n,) in any order; above 0.
    """
    distinct = np.unique(places)
    margin = float((distinct[-1] / distinct[0]) ** 0.06)
    axis.axes.set_xlim(distinct[0] / margin, distinct[-1] * margin)
    room = np.log(distinct[-1] / distinct[0]) * _LABEL_SHARE
    shown = [distinct[0]]
    for one in distinct[1:]:
        if np.log(one / shown[-1]) >= room:
            shown.append(one)
    axis.set_major_locator(FixedLocator(shown))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda place, _: EngFormatter(sep="").format_eng(float(f"{place:.3g}")))


def name_ends(axes: Axes, ends: dict[str, float], looks: dict[str, dict[str, Any]], inches: float) -> None:
    """Write names at the right of an axes where their lines end, moved apart if they touch.

    Args:
        axes: where to, its limits set.
        ends: name -> height in data units.
        looks: name -> its `color`, and its `marker` where that stands before the name.
        inches: height of the axes.
    """
    low, high = axes.get_ylim()
    gap = 1.15 * style.FONT_POINTS / style.POINTS_PER_INCH / inches
    heights = [(end - low) / (high - low) for end in ends.values()]
    places = style.spread_apart(np.clip(heights, 0, 1).tolist(), gap)
    if len(places) and np.ptp(places) <= 1:
        places = places + max(0.0, -places.min()) - max(0.0, places.max() - 1)
    per_inch = 1 / width_of(axes)
    for name, place in zip(ends, places, strict=True):
        look = looks[name]
        if "marker" in look:
            mark(axes, 1 + 0.1 * per_inch, place, look["marker"], look["color"], within=False)
        start = 1 + (0.17 if "marker" in look else 0.06) * per_inch
        axes.text(start, place, name, transform=axes.transAxes, va="center", color=look["color"])
