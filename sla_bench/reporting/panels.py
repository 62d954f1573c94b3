"""Dot-and-whisker figures: a grid of panels, in each one row per method, its figures at the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sla_bench.reporting import style
from sla_bench.reporting.row_names import averages_views
from sla_bench.reporting.table_texts import ONE_SEED

# a panel is split by these only where one of its methods would otherwise have several rows
_SPLITS = (
    "scenario",
    "metric",
    "backbone",
    "budget",
    "train_shots",
    "selection",
    "precision",
    "sampler",
    "protocol",
)
_LABEL_CHARACTERS = 28
_MOST_ROWS = 24
"""Of more rows in a panel, each transformation has a panel of its own."""
_ROW, _TICKS, _GAP = 0.165, 0.2, 0.12
_LEAST_AXIS = 0.9


@dataclass(frozen=True)
class Panel:
    """What one panel shows.

    Args:
        key: value of each grouping column.
        title: the key in words.
        labels: one per row.
        values: (rows, 3) value, low, high; NaN where there is no interval.
        alone: (rows,) True for estimates of one seed.
        wider: (rows, 2) low, high of the interval on other test classes; NaN where there is none.
    """

    key: dict[str, str]
    title: str
    labels: list[str]
    values: np.ndarray
    alone: np.ndarray
    wider: np.ndarray

    @property
    def heading(self) -> str:
        """Title, and below it the reference where the panel has one."""
        reference = self.key.get("reference")
        return self.title if reference is None else f"{self.title}\nagainst {reference}"


def group_panels(
    rows: pd.DataFrame,
    keys: Sequence[str],
    columns: Sequence[str],
    methods: Sequence[str],
    wider: Sequence[str] = (),
) -> list[Panel]:
    """Split leaderboard rows into panels, in the order of the rows.

    Args:
        rows: rows of the leaderboard, each with a value.
        keys: columns that make a panel; the title names all but the reference.
        columns: value, low, high.
        methods: in the order in which every panel shows them.
        wider: low, high of a second interval, where there is one.
    """
    rows = rows.reset_index(drop=True)
    identity = [*keys, "method"]
    several = rows.groupby(identity, dropna=False, sort=False).nunique(dropna=False).max()
    splits = [*keys, *(c for c in _SPLITS if c not in keys and several.get(c, 1) > 1)]
    identity = [*splits, "method"]
    within = ["transform"] if "transform" in rows and _ambiguous(rows, identity, "transform") else []
    rows = rows.drop_duplicates([*identity, *within])
    if within and rows.groupby(splits, dropna=False).size().max() > _MOST_ROWS:
        splits, within = [*splits, *within], []
    rank = {method: place for place, method in enumerate(methods)}
    rows = rows.sort_values("method", key=lambda column: column.map(rank), kind="stable")

    panels = {}
    for _, group in rows.groupby(splits, dropna=False, sort=False):
        key = {column: text_of(group[column].iloc[0]) for column in splits}
        named = [
            word if column in keys else f"{column.replace('_', ' ')} {word}"
            for column, word in key.items()
            if column != "reference" and word
        ]
        panels[group.index.min()] = Panel(
            key=key,
            title=", ".join(named),
            labels=[
                ", ".join(filter(None, map(text_of, words)))
                for words in group[["method", *within]].itertuples(index=False)
            ],
            values=group[list(columns)].to_numpy(dtype=np.float64),
            alone=(group["interval_kind"] == ONE_SEED).to_numpy(),
            wider=group[list(wider)].to_numpy(np.float64) if wider else np.full((len(group), 2), np.nan),
        )
    return [panels[first] for first in sorted(panels)]


def panel_figure(
    panels: Sequence[Panel],
    limits: Sequence[tuple[float, float]],
    decorate: Callable[[Axes, Panel], None],
    numbers: Callable[[float, float, float], str],
    axis_label: str,
    caption: str,
    foot: float = 0.0,
    columns: int | None = None,
) -> Figure:
    """Draw panels in columns of 3.5 inches, more where long words leave no room for the axis.

    More panels make the figure taller.

    Args:
        panels: what to draw.
        limits: of the horizontal axis, one pair per panel; what is beyond them ends in an arrow head.
        decorate: draws what is special, such as a zero line, on the axes of a panel.
        numbers: text at the right of a row, from value, low and high.
        axis_label: of the horizontal axes.
        caption: text below the panels.
        foot: free space below the last row of a panel, in rows.
        columns: how many; None: one to three, as the number of panels asks for.
    """
    columns = columns or (1 if len(panels) <= 3 else 2 if len(panels) <= 12 else 3)
    texts = [[numbers(*row) for row in panel.values.tolist()] for panel in panels]
    labels = [[style.wrap(label, _LABEL_CHARACTERS) for label in panel.labels] for panel in panels]
    headings = [style.wrap(panel.heading, int(style.COLUMN_INCHES / style.BOLD_INCHES)) for panel in panels]
    row_height = _ROW + style.LINE_INCHES * max(label.count("\n") for names in labels for label in names)
    right = 0.14 + style.CHARACTER_INCHES * max(len(text) for column in texts for text in column)
    left = 0.12 + style.CHARACTER_INCHES * max(
        len(line) for names in labels for label in names for line in label.split("\n")
    )
    across = max(style.COLUMN_INCHES, left + _LEAST_AXIS + right)
    width = columns * across
    top = 0.06 + style.LINE_INCHES * (1 + max(heading.count("\n") for heading in headings))
    caption = style.wrap(caption, int((width - 0.1) / style.PROSE_INCHES))
    bottom = style.LINE_INCHES * (2 + caption.count("\n")) + 0.06

    grid = [range(i, min(i + columns, len(panels))) for i in range(0, len(panels), columns)]
    heights = [row_height * (foot + max(len(panels[i].labels) for i in line)) for line in grid]
    total = sum(heights) + len(grid) * (top + _TICKS + _GAP) + bottom
    figure = style.new_figure(width, total)
    y = total
    for line, height in zip(grid, heights, strict=True):
        y -= top + height
        for column, i in enumerate(line):
            own = row_height * (foot + len(panels[i].labels))
            x = column * across + left
            axes = figure.add_axes(
                (
                    x / width,
                    (y + height - own) / total,
                    (across - left - right) / width,
                    own / total,
                )
            )
            axes.set_xlim(*limits[i])
            axes.set_ylim(len(labels[i]) - 0.5 + foot, -0.5)
            _draw_rows(axes, panels[i], labels[i], texts[i])
            _head(axes, headings[i], left)
            decorate(axes, panels[i])
            if i + columns >= len(panels):
                axes.set_xlabel(axis_label, labelpad=2)
        y -= _TICKS + _GAP
    figure.text(0.05 / width, 0.05 / total, caption, va="bottom", ha="left", color=style.GREY)
    return figure


def draw_zero(axes: Axes, panel: Panel) -> None:
    """Draw the line of no gain; decorates `panel_figure`."""
    del panel
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)


def gain_text(value: float, low: float, high: float) -> str:
    """`+19.5 [9.6, 29.5]`; without an interval where that is NaN, and never a negative zero."""
    text = f"{value:+z.1f}" + ("" if np.isnan(low) else f" [{low:z.1f}, {high:z.1f}]")
    return text.replace("-", "\N{MINUS SIGN}")


def _draw_rows(axes: Axes, panel: Panel, labels: Sequence[str], texts: Sequence[str]) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    left, right = axes.get_xlim()
    for row, (label, (value, low, high)) in enumerate(zip(panel.labels, panel.values, strict=True)):
        colour = style.FAINT if panel.alone[row] else style.method_colour(label)
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
            texts[row],
            (1, row),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center_baseline",
            color=colour,
        )


def _head(axes: Axes, heading: str, left: float) -> None:
    """Title in bold, the line of the reference below it in normal weight, at the column's left edge."""
    lines = heading.split("\n")
    for above, line in enumerate(reversed(lines)):
        axes.annotate(
            line,
            (0, 1),
            xycoords="axes fraction",
            xytext=(
                -(left - 0.05) * style.POINTS_PER_INCH,
                2 + above * style.LINE_INCHES * style.POINTS_PER_INCH,
            ),
            textcoords="offset points",
            va="bottom",
            fontweight="normal" if line.startswith("against ") else "bold",
        )


def _ambiguous(rows: pd.DataFrame, identity: Sequence[str], column: str) -> bool:
    counts = rows.groupby(list(identity), dropna=False, sort=False)[column].nunique(dropna=False)
    return bool(counts.max() > 1)


def text_of(value: str | float | None) -> str:
    """A value of a leaderboard column as a word of a title; empty where there is none."""
    if pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def interval_limits(values: np.ndarray, held: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis that hold all values, and intervals as far as the span of the values beyond them.

    Args:
        values: (n, 3) value, low, high.
        held: further places that the axis holds.
    """
    centres = np.append(values[:, 0], held)
    reach = max(np.ptp(centres), 1.0)
    low, high = centres.min() - reach, centres.max() + reach
    return padded(np.append(np.clip(values[:, 1:], low, high), centres))


def gain_limits(values: np.ndarray, rows: Sequence[str]) -> tuple[float, float]:
    """Limits of an axis for zero and all gains but those of rows with +TTA that would flatten the others.

    Args:
        values: (n, 3) relative gain in %, low, high.
        rows: (n,) names of method and reference.
    """
    averaged = np.array([averages_views(row) for row in rows])
    if averaged.all():
        return interval_limits(values, [0.0])
    centres = np.append(values[~averaged, 0], 0.0)
    reach = np.ptp(centres) / 2
    far = (values[:, 0] < centres.min() - reach) | (values[:, 0] > centres.max() + reach)
    return interval_limits(values[~(averaged & far)], [0.0])


def padded(values: np.ndarray) -> tuple[float, float]:
    """Least and largest of values of any shape, NaN left out, with a margin."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * max(high - low, 1.0)
    return low - margin, high + margin
