"""Accuracy against the cost of training, with the controls that cost as much."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sla_bench.reporting import style
from sla_bench.reporting.line_panels import mark, name_places, titled_groups
from sla_bench.reporting.panel_grid import panel_grid, width_of
from sla_bench.reporting.panels import interval_limits
from sla_bench.reporting.row_names import SAME_BUT_LONGER, augments_labels
from sla_bench.reporting.table_texts import ALONE, ONE_SEED, TRAINING

MATCHED_COLOUR = style.COLOURS[1]
_MARKERS = "osD^vP<>Xph*d8"
_PLOT_HEIGHT = 1.8
_LIST_HEAD = "accuracy (views at test)"
_DODGE = 0.022


@dataclass(frozen=True)
class CostPanel:
    """What one panel shows: its title, and rows of the leaderboard, one per method, best first."""

    title: str
    rows: pd.DataFrame


def plot_cost_accuracy(
    leaderboard: pd.DataFrame, matched: Collection[str], path_stem: Path | str
) -> list[Path]:
    """Write the figure of `cost_accuracy_figure` as PNG and SVG.

    Args:
        leaderboard: rows of accuracy.
        matched: the controls that label augmentation is compared with at equal cost.
        path_stem: path without ending.

    Returns:
        The files written; none where all methods of each setting cost the same.

    Raises:
        UserError: the files cannot be written; earlier ones are then as they were.
    """
    panels = cost_panels(leaderboard)
    return style.save(cost_accuracy_figure(panels, matched), path_stem) if panels else []


def cost_panels(leaderboard: pd.DataFrame) -> list[CostPanel]:
    """Panels of the settings in which some method costs more than another.

    Args:
        leaderboard: rows of accuracy.
    """
    rows = leaderboard.drop_duplicates(["scenario", *TRAINING, "setting", "learner", "train_shots", "method"])
    named = ["dataset", "setting", "learner"]
    further = [*(c for c in TRAINING if c != "dataset"), "train_shots"]
    return [
        CostPanel(title, part.sort_values("value", ascending=False, kind="stable"))
        for title, part in (titled_groups(rows, named, further) if len(rows) else [])
        if part["train_images"].nunique() > 1
    ]


def cost_accuracy_figure(panels: list[CostPanel], matched: Collection[str]) -> Figure:
    """Accuracy with its 95 % interval against images through the backbone in training.

    A list at the right names the methods, best first, with accuracy and test passes. Methods of equal cost
    stand side by side. A baseline is joined to the same baseline with more steps.

    Args:
        panels: at least one, of `cost_panels`.
        matched: the controls that label augmentation is compared with at equal cost.
    """
    markers = _markers(panels, matched)
    longest = max(len(text) for p in panels for text in (*map(_entry, _records(p)), _LIST_HEAD))
    right = 0.3 + style.CHARACTER_INCHES * longest
    plot = max(_PLOT_HEIGHT, 1.1 * style.LINE_INCHES * max(2 + len(panel.rows) for panel in panels))
    titles = [panel.title for panel in panels]
    with style.styled():
        figure, grid = panel_grid(titles, right, plot, ("Training images", "Accuracy in %"), _note(panels))
        for axes, panel in zip(grid, panels, strict=True):
            _draw(axes, panel, markers, matched)
            _list(axes, panel, markers, matched, plot)
    return figure


def colour_of(method: str, matched: Collection[str]) -> str:
    """Blue for label augmentation, orange for its controls of equal cost, grey for the others."""
    if augments_labels(method):
        return style.BLUE
    return MATCHED_COLOUR if method in matched else style.GREY


def _records(panel: CostPanel) -> list[dict[Hashable, Any]]:
    return panel.rows.to_dict("records")


def _entry(row: dict[Hashable, Any]) -> str:
    passes = "" if pd.isna(row["query_passes"]) else f" ({row['query_passes']:.0f})"
    return f"{row['method']}  {row['value']:.1f}{passes}"


def _markers(panels: list[CostPanel], matched: Collection[str]) -> dict[str, str]:
    """A marker per method, the same in all panels, distinct among those of one colour."""
    markers: dict[str, str] = {}
    used: dict[str, int] = {}
    for method in dict.fromkeys(method for panel in panels for method in sorted(panel.rows["method"])):
        colour = colour_of(method, matched)
        markers[method] = _MARKERS[used.get(colour, 0) % len(_MARKERS)]
        used[colour] = used.get(colour, 0) + 1
    return markers


def _draw(axes: Axes, panel: CostPanel, markers: dict[str, str], matched: Collection[str]) -> None:
    rows = panel.rows
    heights = rows[["value", "ci95_low", "ci95_high"]].to_numpy(dtype=np.float64)
    axes.set_ylim(*interval_limits(heights, []))
    axes.set_xscale("log")
    places = side_by_side(rows["train_images"].to_numpy(dtype=np.float64))
    name_places(axes.xaxis, rows["train_images"].to_numpy(dtype=np.float64))
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, places.min() / 1.05), max(high, places.max() * 1.05))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    at = dict(zip(rows["method"], zip(places, heights[:, 0], strict=True), strict=True))
    for short, long in SAME_BUT_LONGER.items():
        if short in at and long in at:
            ends = np.array([at[short], at[long]]).T
            axes.plot(*ends, color=MATCHED_COLOUR, linewidth=0.9, linestyle=(0, (4, 1.5)), zorder=2)
    alone = rows["interval_kind"] == ONE_SEED
    for method, place, height, one in zip(rows["method"], places, heights, alone, strict=True):
        (value, lower, upper), colour = height, colour_of(method, matched)
        if not np.isnan(lower):
            axes.vlines(place, lower, upper, color=colour, linewidth=0.8, zorder=2.2)
        mark(axes, place, value, markers[method], colour, alone=one)


def side_by_side(images: np.ndarray) -> np.ndarray:
    """Places on a logarithmic axis at which points of equal cost (within 5 %) do not hide each other.

    Args:
        images: (n,) costs, above 0.

    Returns:
        (n,) costs, moved by a few per cent of the axis, their order among equals kept.
    """
    logs = np.log(images)
    span = max(float(np.ptp(logs)), np.log(2.0))
    order = np.argsort(logs, kind="stable")
    placed = logs.copy()
    start = 0
    for stop in range(1, len(order) + 1):
        if stop < len(order) and logs[order[stop]] - logs[order[start]] < np.log(1.05):
            continue
        group = np.sort(order[start:stop])
        placed[group] += _DODGE * span * (np.arange(len(group)) - (len(group) - 1) / 2)
        start = stop
    positions: np.ndarray = np.exp(placed)
    return positions


def _list(
    axes: Axes, panel: CostPanel, markers: dict[str, str], matched: Collection[str], inches: float
) -> None:
    per_inch = 1 / width_of(axes)
    line = 1.1 * style.LINE_INCHES / inches
    start = 1 + 0.2 * per_inch
    axes.text(start, 1 - 0.4 * line, _LIST_HEAD, transform=axes.transAxes, va="center", color=style.GREY)
    for place, row in enumerate(_records(panel), start=1):
        colour, height = colour_of(row["method"], matched), 1 - (place + 0.4) * line
        alone = row["interval_kind"] == ONE_SEED
        mark(axes, 1 + 0.12 * per_inch, height, markers[row["method"]], colour, alone, within=False)
        axes.text(start, height, _entry(row), transform=axes.transAxes, va="center", color=colour)


def _note(panels: list[CostPanel]) -> str:
    methods = {method for panel in panels for method in panel.rows["method"]}
    sentences = [
        "Mean accuracy and its 95 % interval against images through the backbone in training.",
        "Points of equal cost stand side by side.",
        "Blue: self-supervised label augmentation. Orange: its controls of equal cost.",
    ]
    if any(short in methods and long in methods for short, long in SAME_BUT_LONGER.items()):
        sentences.append("Dashed: the same baseline with more steps.")
    if any((panel.rows["interval_kind"] == ONE_SEED).any() for panel in panels):
        sentences.append(ALONE)
    return " ".join(sentences)
