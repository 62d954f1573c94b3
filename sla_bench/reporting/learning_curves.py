"""Learning curves: validation accuracy where it was measured, training accuracy smoothed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from sla_bench.reporting import style
from sla_bench.reporting.line_panels import name_ends, titled_groups

_QUANTITIES = {"val_accuracy": "validation", "train_accuracy": "training task, smoothed"}
_PLOT_HEIGHT = 1.55
_TOP, _BOTTOM, _LEFT = 0.25, 0.42, 0.42
_TITLE_CHARACTERS = int((style.COLUMN_INCHES - _LEFT) / style.BOLD_INCHES)
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))
_MOST_RUNS = 24
"""Of more runs in a panel, each transformation has a panel of its own."""
_SPLITS = (
    "setting",
    "train_shots",
    "backbone",
    "recipe",
    "precision",
    "sampler",
    "selection",
    "steps",
    "epochs",
)


def learning_curves_figure(histories: pd.DataFrame) -> Figure:
    """Accuracy against images through the backbone (column `images`), or steps where that is not known.

    One line of panels per learner, and per data set, recipe, shots in training and the like where there are
    several: validation accuracy, its points joined, and training accuracy as a running mean over 10 % of the
    records. One line per run, one colour per method, named at its end. Under SLA the training task has more
    ways, so training curves of different methods are not comparable.

    Args:
        histories: as `sla_bench.reporting.plots.plot_learning_curves`, with at least one accuracy.
    """
    horizontal = "images" if "images" in histories and histories["images"].notna().all() else "step"
    quantities = [q for q in _QUANTITIES if histories[q].notna().any()]
    panels = _panels(histories)
    names = {name for _, runs in panels for name in runs["line"]}
    ordered = sorted(names, key=lambda name: (style.method_colour(name) == style.GREY, name))
    pairs = zip(ordered, itertools.cycle(itertools.product(_DASHES, style.COLOURS)), strict=False)
    looks = {name: {"linestyle": dashes, "color": colour} for name, (dashes, colour) in pairs}
    right = 0.12 + style.CHARACTER_INCHES * max(map(len, names))
    plot = max(_PLOT_HEIGHT, 1.15 * style.LINE_INCHES * max(runs["line"].nunique() for _, runs in panels))
    titles = {
        (panel, quantity): style.wrap(f"{panel}, {_QUANTITIES[quantity]}", _TITLE_CHARACTERS)
        for panel, _ in panels
        for quantity in quantities
    }
    top = _TOP + style.LINE_INCHES * max(title.count("\n") for title in titles.values())

    width, height = style.COLUMN_INCHES * len(quantities), top + plot + _BOTTOM
    total = height * len(panels)
    with style.styled():
        figure = style.new_figure(width, total)
        for line, (panel, runs) in enumerate(panels):
            for column, quantity in enumerate(quantities):
                axes = figure.add_axes(
                    (
                        (column * style.COLUMN_INCHES + _LEFT) / width,
                        (total - (line + 1) * height + _BOTTOM) / total,
                        (style.COLUMN_INCHES - _LEFT - right) / width,
                        plot / total,
                    )
                )
                axes.set_title(titles[panel, quantity], loc="left")
                ends = _draw_runs(axes, runs, horizontal, quantity, looks)
                axes.set_xlabel("Images through the backbone" if horizontal == "images" else "Training steps")
                if column == 0:
                    axes.set_ylabel("Accuracy in %")
                name_ends(axes, ends, looks, plot)
    return figure


def _panels(histories: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Title and runs of each line of panels; the column `line` names the line of a run.

    That is the method where it tells the runs of a panel and seed apart, or with the transformation it does;
    else the label of the run.
    """
    datasets = ["dataset"] if "dataset" in histories and histories["dataset"].nunique() > 1 else []
    further = [column for column in _SPLITS if column in histories]
    panels = titled_groups(histories, [*datasets, "learner"], further)
    if "transform" in histories and max(runs["label"].nunique() for _, runs in panels) > _MOST_RUNS:
        panels = titled_groups(histories, [*datasets, "learner"], [*further, "transform"])
    names = [histories["method"]]
    if "transform" in histories:
        names.append((histories["method"] + " " + histories["transform"].fillna("")).str.strip())
    for name in (*names, histories["label"]):
        lines = [(title, runs.assign(line=name.loc[runs.index].astype(str))) for title, runs in panels]
        if all(runs.groupby(["line", "seed"])["label"].nunique().max() == 1 for _, runs in lines):
            break
    return lines


def _draw_runs(
    axes: Axes, runs: pd.DataFrame, horizontal: str, quantity: str, looks: dict[str, Any]
) -> dict[str, Any]:
    """Draw each run; return the mean height at which the runs of each line end."""
    ends: dict[str, list[float]] = {}
    for (line, _), run in runs.groupby(["line", "label"], sort=False):
        known = run[run[quantity].notna()].sort_values(horizontal)
        if known.empty:
            continue
        values = 100 * known[quantity]
        if quantity == "train_accuracy":
            values = values.rolling(max(1, len(values) // 10), center=True, min_periods=1).mean()
        name = str(line)
        marker = "o" if quantity == "val_accuracy" else ""
        axes.plot(known[horizontal], values, lw=0.9, marker=marker, ms=2, **looks[name])
        ends.setdefault(name, []).append(float(values.iloc[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    return {name: float(np.mean(values)) for name, values in ends.items()}
