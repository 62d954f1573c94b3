"""The drawer of lines with 95 % bands, names at line ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from matplotlib.typing import LineStyleType

from sla_bench.tables.figures import style
from sla_bench.tables.figures.page import head, page
from sla_bench.tables.figures.style import interval_limits

MOST_LINES = 6
"""More lines have whiskers instead of bands."""
_LABEL_SHARE = 0.15  # of the axis, for the label of one place
DASHES: Sequence[LineStyleType] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_MARKERS = "osD^vP"


@dataclass(frozen=True)
class Look:
    """How a method is drawn; without a marker, its name alone stands at the end of its line."""

    colour: str
    dashes: LineStyleType = "-"
    marker: str = ""


@dataclass(frozen=True)
class Line:
    """One method.

    Args:
        name: stands at its end.
        x: (n,) ascending, n >= 2.
        values: (n, 3) value, low, high; NaN where there is no interval.
        alone: (n,) True for estimates of one seed.
        is_sla: it is label augmentation.
    """

    name: str
    x: np.ndarray
    values: np.ndarray
    alone: np.ndarray
    is_sla: bool


@dataclass(frozen=True)
class LinePanel:
    """What one panel shows: its title and at least one line."""

    title: str
    lines: list[Line]


def looks_of(names: Mapping[str, bool]) -> dict[str, Look]:
    """Colour, dashes and marker of each method: blue for label augmentation, other colours for the others.

    Args:
        names: of the methods -> it is label augmentation.
    """
    own = [name for name, is_sla in names.items() if is_sla]
    others = [name for name, is_sla in names.items() if not is_sla]
    looks = {}
    for group, colours in ((own, (style.BLUE,)), (others, style.COLOURS[1:])):
        pairs = itertools.cycle(itertools.product(DASHES, colours))
        for place, (name, (dashes, colour)) in enumerate(zip(group, pairs, strict=False)):
            looks[name] = Look(colour, dashes, _MARKERS[place // len(colours) % len(_MARKERS)])
    return looks


def plot_height(least: float, lines: Iterable[int]) -> float:
    """Inches of axes beside which so many names have room."""
    return max(least, 1.2 * style.LINE_INCHES * max(lines))


def line_figure(
    panels: Sequence[LinePanel], axis_label: str, value_label: str, caption: str, zero: bool = False
) -> Figure:
    """Draw panels on a logarithmic axis, in one to three columns.

    Args:
        panels: at least one.
        axis_label: of the horizontal axes.
        value_label: of the vertical axes.
        caption: text below the panels.
        zero: hold zero and draw a line there.
    """
    looks = looks_of({line.name: line.is_sla for panel in panels for line in panel.lines})
    plot = plot_height(1.7, (len(panel.lines) for panel in panels))
    with page([plot] * len(panels), caption) as (figure, grid):
        label_axes(grid, axis_label, value_label)
        for axes, panel in zip(grid, panels, strict=True):
            head(axes, panel.title)
            heights = np.concatenate([line.values for line in panel.lines])
            value_axis(axes, *interval_limits(heights, [0.0] if zero else []))
            name_places(axes, np.concatenate([line.x for line in panel.lines]))
            if zero:
                axes.axhline(0, color="black", linewidth=0.8, zorder=1)
            for line in panel.lines:
                _draw(axes, line, looks[line.name], len(panel.lines))
            name_ends(axes, {line.name: line.values[-1, 0] for line in panel.lines}, looks, plot)
    return figure


def _draw(axes: Axes, line: Line, look: Look, lines: int) -> None:
    own = line.is_sla
    value, low, high = line.values.T
    if own or lines <= MOST_LINES:
        alpha = 0.16 if own else 0.09
        axes.fill_between(line.x, low, high, color=look.colour, alpha=alpha, linewidth=0, zorder=1.5)
    else:
        axes.vlines(line.x, low, high, color=look.colour, linewidth=0.5, zorder=2)
    width, order = (1.5, 3) if own else (0.9, 2.5)
    axes.plot(line.x, value, color=look.colour, linestyle=look.dashes, linewidth=width, zorder=order)
    for x, y, alone in zip(line.x, value, line.alone, strict=True):
        mark(axes, x, y, look, alone)


def label_axes(grid: Sequence[Axes], across: str, upwards: str) -> None:
    """Name the axes of all panels; the vertical ones at the first column only."""
    for axes in grid:
        style.grid(axes)
        axes.set_xlabel(across, labelpad=2)
        place = axes.get_subplotspec()
        if place is None or place.is_first_col():
            axes.set_ylabel(upwards, labelpad=2)


def value_axis(axes: Axes, low: float, high: float) -> None:
    """Limits and round ticks of a vertical axis."""
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))


def mark(
    axes: Axes, x: float, y: float, look: Look, alone: bool = False, inches: float | None = None
) -> None:
    """Draw one marker, in light grey where it stands alone: of one seed.

    Args:
        axes: where to.
        x: in data units.
        y: in data units.
        look: its marker and colour.
        alone: of one seed.
        inches: how far right of the point it stands; x and y are then fractions of the axes.
    """
    transform = axes.transData
    if inches is not None:
        transform = axes.transAxes + ScaledTranslation(inches, 0, axes.figure.dpi_scale_trans)
    colour = style.FAINT if alone else look.colour
    (drawn,) = axes.plot(x, y, look.marker, color=colour, markersize=3.4, markeredgewidth=0.8, zorder=3.2)
    drawn.set(transform=transform, clip_on=False)


def name_places(axes: Axes, places: np.ndarray) -> None:
    """Make the horizontal axis logarithmic and label it where something was measured.

    Args:
        axes: whose axis.
        places: where, (n,) in any order; above 0.
    """
    axes.set_xscale("log")
    distinct = np.unique(places)
    margin = float((distinct[-1] / distinct[0]) ** 0.06)
    axes.set_xlim(distinct[0] / margin, distinct[-1] * margin)
    room = np.log(distinct[-1] / distinct[0]) * _LABEL_SHARE
    shown = [distinct[0]]
    for one in distinct[1:]:
        if np.log(one / shown[-1]) >= room:
            shown.append(one)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda place, _: EngFormatter(sep="").format_eng(float(f"{place:.3g}")))


def name_ends(axes: Axes, ends: Mapping[str, float], looks: Mapping[str, Look], inches: float) -> None:
    """Write names at the right of an axes where their lines end, moved apart if they touch.

    Args:
        axes: where to, its limits set.
        ends: name -> height in data units.
        looks: name -> look; a marker stands before the name.
        inches: height of the axes.
    """
    low, high = axes.get_ylim()
    gap = 1.15 * style.FONT_POINTS / style.POINTS_PER_INCH / inches
    heights = [(end - low) / (high - low) for end in ends.values()]
    places = style.spread_apart(np.clip(heights, 0, 1).tolist(), gap)
    if len(places) and np.ptp(places) <= 1:
        places = places + max(0.0, -places.min()) - max(0.0, places.max() - 1)
    for name, place in zip(ends, places.tolist(), strict=True):
        write_beside(axes, name, place, looks[name])


def write_beside(axes: Axes, text: str, place: float, look: Look, alone: bool = False) -> None:
    """Write a text, with its marker, at the right of an axes, at a fraction of its height."""
    if look.marker:
        mark(axes, 1, place, look, alone, inches=0.1)
    start = style.POINTS_PER_INCH * (0.17 if look.marker else 0.06)
    axes.annotate(
        text,
        (1, place),
        xycoords="axes fraction",
        xytext=(start, 0),
        textcoords="offset points",
        va="center",
        color=look.colour,
    )
