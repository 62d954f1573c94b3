"""Accuracy on each view of the test images, and of the mean over the views: one line per head."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sla_bench.reporting import style
from sla_bench.reporting.line_panels import MOST_LINES, looks_of, mark, name_ends
from sla_bench.reporting.panel_grid import panel_grid
from sla_bench.reporting.panels import interval_limits
from sla_bench.reporting.table_texts import ALONE
from sla_bench.reporting.view_confusions import NUMBERED_VIEWS, SMALL_FONT
from sla_bench.reporting.view_results import ANY, OWN, ViewSetting
from sla_bench.reporting.view_tables import view_label
from sla_bench.statistics import MeanInterval

AVERAGED = "mean"
_PLOT_HEIGHT = 2.0
_APART = 0.07
"""Lines beside each other, so that none covers the interval of another; one view is 1 wide."""


def view_accuracies_figure(settings: Sequence[ViewSetting]) -> Figure:
    """Accuracy in % with 95 % intervals by view, and at the right of the mean over the views.

    One panel per setting. A joint head is read over the columns of the view's own transformation. Unless that
    would be too many lines, it has a second one: over all its columns ("any"), without a mean over the views.

    Args:
        settings: at least one.
    """
    curves = [_curves(setting) for setting in settings]
    looks = looks_of(name for own in curves for name in own)
    right = 0.26 + style.CHARACTER_INCHES * max(map(len, looks))
    plot = max(_PLOT_HEIGHT, 1.2 * style.LINE_INCHES * max(map(len, curves)))
    names = [[*setting.view_names, AVERAGED] for setting in settings]
    foot = max(_foot(own) for own in names)
    with style.styled():
        figure, grid = panel_grid(
            [setting.title for setting in settings],
            right,
            plot,
            ("View of the test image", "Accuracy in %"),
            _caption(settings, {name for own in curves for name in own}),
            foot=foot,
        )
        for axes, own, ticks in zip(grid, curves, names, strict=True):
            for place, (name, intervals) in enumerate(own.items()):
                aside = _APART * (place - (len(own) - 1) / 2)
                _draw(axes, intervals, len(ticks), aside, looks[name])
            axes.set_xlim(-0.4, len(ticks) - 0.6)
            axes.set_xticks(range(len(ticks)), ticks)
            if len(ticks) - 1 > NUMBERED_VIEWS:
                axes.tick_params(axis="x", rotation=90, labelsize=SMALL_FONT * style.FONT_POINTS)
            axes.axvline(len(ticks) - 1.5, color="#BBBBBB", linewidth=0.6, zorder=0.5)
            found = np.array([_percent(interval) for intervals in own.values() for interval in intervals])
            axes.set_ylim(*interval_limits(found, []))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
            name_ends(axes, {n: 100 * i[-1].estimate for n, i in own.items()}, looks, plot)
    return figure


def _curves(setting: ViewSetting) -> dict[str, list[MeanInterval]]:
    """Name -> an interval per view, and that of the mean over the views where there is one."""
    found = {}
    second = len(setting.heads) + sum(head.is_joint for head in setting.heads) <= MOST_LINES
    for head in setting.heads:
        found[view_label(head, OWN)] = [*head.accuracies, head.aggregated_accuracy]
        if head.is_joint and second:
            found[view_label(head, ANY)] = head.accuracies_of_all_columns
    return found


def _percent(interval: MeanInterval) -> tuple[float, float, float]:
    return 100 * interval.estimate, 100 * interval.low, 100 * interval.high


def _foot(names: Sequence[str]) -> float:
    """Inches that tick labels take beyond one line."""
    if len(names) - 1 <= NUMBERED_VIEWS:
        return 0.0
    return SMALL_FONT * style.CHARACTER_INCHES * max(map(len, names)) - style.LINE_INCHES / 2


def _draw(
    axes: Axes, intervals: Sequence[MeanInterval], places: int, aside: float, look: dict[str, Any]
) -> None:
    x = np.arange(len(intervals)) + aside
    value, low, high = np.array([_percent(interval) for interval in intervals]).T
    # The mean over the views is no view: no line leads to it.
    views = min(len(intervals), places - 1)
    axes.plot(x[:views], value[:views], color=look["color"], linestyle=look["linestyle"], linewidth=0.9)
    axes.vlines(x, low, high, color=look["color"], linewidth=0.9, alpha=0.7)
    for place, height, interval in zip(x, value, intervals, strict=True):
        mark(axes, float(place), height, look["marker"], look["color"], interval.seeds == 1)


def _caption(settings: Sequence[ViewSetting], shown: Collection[str]) -> str:
    sentences = [
        "Each head on every view of the test images.",
        "Vertical lines: 95 % intervals; one that reaches the frame goes on.",
        "Mean: scores averaged over the views (+TTA, SLA+AG).",
    ]
    joint = [head for setting in settings for head in setting.heads if head.is_joint]
    if joint:
        sentences.append("A joint head (SLA) is read in the columns of the view's own transformation.")
    if any(view_label(head, ANY) in shown for head in joint):
        sentences.append("Any: the largest logit of all its columns.")
    if any(setting.one_seed for setting in settings):
        sentences.append(ALONE)
    return " ".join(sentences)
