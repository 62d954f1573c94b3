"""How far the views of an image agree, against what averaging them gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sla_bench.reporting import style
from sla_bench.reporting.line_panels import looks_of, mark, name_ends
from sla_bench.reporting.panel_grid import panel_grid
from sla_bench.reporting.panels import interval_limits
from sla_bench.reporting.table_texts import ALONE
from sla_bench.reporting.view_results import HeadViews, ViewSetting
from sla_bench.statistics import MeanInterval

_PLOT_HEIGHT = 2.0


def view_agreement_figure(settings: Sequence[ViewSetting]) -> Figure:
    """Gain of averaging in points against agreement of pairs of views in %, both with 95 % intervals.

    One panel per setting, one marker per head, and small dots for the classes.

    Args:
        settings: at least one.
    """
    looks = looks_of(head.name for setting in settings for head in setting.heads)
    right = 0.26 + style.CHARACTER_INCHES * max(map(len, looks))
    plot = max(_PLOT_HEIGHT, 1.2 * style.LINE_INCHES * max(len(setting.heads) for setting in settings))
    labels = ("Pairs of views that agree in %", "Averaged \N{MINUS SIGN} upright in points")
    with style.styled():
        titles = [setting.title for setting in settings]
        figure, grid = panel_grid(titles, right, plot, labels, _caption(settings))
        for axes, setting in zip(grid, settings, strict=True):
            axes.axhline(0, color="black", linewidth=0.8, zorder=1)
            for head in setting.heads:
                _draw(axes, head, looks[head.name])
            agreements, gains = ([h.by_class[k] for h in setting.heads] for k in (0, 1))
            axes.set_xlim(*_limits([h.agreement for h in setting.heads], agreements))
            axes.set_ylim(*_limits([h.gain for h in setting.heads], gains))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
            name_ends(axes, {h.name: 100 * h.gain.estimate for h in setting.heads}, looks, plot)
    return figure


def _limits(intervals: Sequence[MeanInterval], of_classes: Sequence[np.ndarray]) -> tuple[float, float]:
    """Of an axis in %; an interval that would flatten everything else is cut."""
    ends = 100 * np.array([[i.estimate, i.low, i.high] for i in intervals])
    return interval_limits(ends, (100 * np.concatenate(of_classes)).tolist())


def _draw(axes: Axes, head: HeadViews, look: dict[str, Any]) -> None:
    agreement, gain = head.agreement, head.gain
    colour = look["color"]
    of_classes, gains = head.by_class
    axes.scatter(100 * of_classes, 100 * gains, s=4, color=colour, alpha=0.3, linewidths=0, zorder=1.5)
    x, y = 100 * agreement.estimate, 100 * gain.estimate
    axes.hlines(y, 100 * agreement.low, 100 * agreement.high, color=colour, linewidth=1.1, zorder=3)
    axes.vlines(x, 100 * gain.low, 100 * gain.high, color=colour, linewidth=1.1, zorder=3)
    mark(axes, x, y, look["marker"], colour, gain.seeds == 1)


def _caption(settings: Sequence[ViewSetting]) -> str:
    sentences = [
        "Marker: one head over all classes. Small dots: the classes.",
        "Lines: 95 % intervals; one that reaches the frame goes on.",
        "Upright: the image as it is; averaged: scores averaged over all views.",
        "A joint head (SLA) is read in the columns of the view's own transformation.",
    ]
    if any(setting.one_seed for setting in settings):
        sentences.append(ALONE)
    return " ".join(sentences)
