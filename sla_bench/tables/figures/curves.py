"""Figures of gains along a setting, of cost, and of learning."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from sla_bench.config import columns
from sla_bench.scenarios.reading import SettingAxis
from sla_bench.tables.figures import style
from sla_bench.tables.figures.grouping import titled_groups
from sla_bench.tables.figures.lines import (
    DASHES,
    MOST_LINES,
    Line,
    LinePanel,
    Look,
    label_axes,
    line_figure,
    mark,
    name_ends,
    name_places,
    plot_height,
    value_axis,
    write_beside,
)
from sla_bench.tables.figures.page import head, page
from sla_bench.tables.figures.style import interval_limits
from sla_bench.tables.row_key import BASELINE, SAME_BUT_LONGER, SETTING, TRAINING
from sla_bench.tables.table_texts import ALONE, ONE_SEED

MATCHED_COLOUR = style.COLOURS[1]
_ACCURACY = ("value", "ci95_low", "ci95_high")
_GAIN = ("relative_gain_pct", "gain_ci95_low", "gain_ci95_high")
_NAMED = ["dataset", "setting", "learner"]
_FURTHER = [column for column in TRAINING if column != "dataset"]
_ONE_METHOD = [*SETTING, "method"]
_MARKERS = "osD^vP<>Xph*d8"
_DODGE = 0.022
_QUANTITIES = {"val_accuracy": "validation", "train_accuracy": "training task, smoothed"}
_MOST_RUNS = 24
"""Of more runs in a panel, each transformation has a panel of its own."""
_SPLITS = ("setting", "train_shots", "backbone", "recipe", *columns(), "steps", "epochs")


def gain_curves_figure(leaderboard: pd.DataFrame, axis: SettingAxis) -> Figure | None:
    """Relative gain over the baseline of each method along the axis, a panel per data set and training.

    Where a value of the axis was trained in several ways (few-shot: at several shots), each way of training
    has a panel; otherwise each value stands with the training that belongs to it.

    Args:
        leaderboard: rows of one metric.
        axis: a number of the setting: shots, or the imbalance ratio.

    Returns:
        The figure; None where no method has a gain at two values of the axis.
    """
    panels = gain_panels(leaderboard, axis)
    words = (
        "Gain in mean accuracy over the baseline of equal steps, band or whisker: its 95 % interval. "
        "Blue: self-supervised label augmentation."
    )
    return (
        line_figure(panels, axis.name, "Relative gain in %", words + _alone(panels), True) if panels else None
    )


def gain_panels(leaderboard: pd.DataFrame, axis: SettingAxis) -> list[LinePanel]:
    """The panels of `gain_curves_figure`."""
    rows = leaderboard[(leaderboard["reference"] == BASELINE) & leaderboard[_GAIN[0]].notna()]
    rows = rows[rows[axis.part].notna()]
    rows = rows.assign(setting=rows["setting_but_axis"], interval_kind=rows["gain_interval_kind"])
    panels = []
    for title, part in titled_groups(rows, _NAMED, _FURTHER):
        ways = [(title, part)]
        if part.duplicated(["method", axis.part]).any():
            ways = titled_groups(part.assign(title=title), ["title"], ["train_shots"])
        for words, way in ways:
            panels += _panels_of(words, way, axis.part, _GAIN)
    return panels


def budget_curves_figure(leaderboard: pd.DataFrame) -> Figure | None:
    """Accuracy of each method against its training images, a panel per data set, setting and training.

    Trainings whose budgets differ in their length only ("quick", "quick, steps=250") are points of one line.

    Args:
        leaderboard: rows of accuracy.

    Returns:
        The figure; None where no method was trained for two lengths.
    """
    panels = budget_panels(leaderboard)
    words = (
        "Each point: a training of its own length with its whole schedule. Band or whisker: 95 % interval. "
        "At one place of the axis all methods have sent as many images through the backbone. "
        "Blue: self-supervised label augmentation."
    )
    across, upwards = "Training images through the backbone", "Accuracy in %"
    return line_figure(panels, across, upwards, words + _alone(panels)) if panels else None


def budget_panels(leaderboard: pd.DataFrame) -> list[LinePanel]:
    """The panels of `budget_curves_figure`."""
    rows = leaderboard.drop_duplicates(_ONE_METHOD)
    rows = rows.assign(recipe=rows["budget_but_length"])
    further = ["recipe" if column == "budget" else column for column in (*_FURTHER, "train_shots")]
    panels = []
    for title, part in titled_groups(rows, _NAMED, further):
        lengths = part.groupby("method")["budget"].nunique()
        panels += _panels_of(title, part[part["method"].map(lengths) > 1], "train_images", _ACCURACY)
    return panels


def _panels_of(title: str, rows: pd.DataFrame, x: str, values: Sequence[str]) -> list[LinePanel]:
    """One line per method with at least two places on the axis.

    Of more than `MOST_LINES` methods, those with one view of a test image and those with several get panels
    of their own.
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
                is_sla = bool(points["is_sla"].iloc[0])
                lines.append(Line(str(method), places, heights, alone, is_sla))
        panels += [LinePanel(name, lines)] if lines else []
    return panels


def _alone(panels: Sequence[LinePanel]) -> str:
    return f" {ALONE}" if any(line.alone.any() for panel in panels for line in panel.lines) else ""


def cost_accuracy_figure(leaderboard: pd.DataFrame, matched: Collection[str]) -> Figure | None:
    """Accuracy with its 95 % interval against images through the backbone in training.

    A list at the right names the methods, best first, with accuracy and test passes. Methods of equal cost
    stand side by side. A baseline is joined to the same baseline with more steps.

    Args:
        leaderboard: rows of accuracy.
        matched: the controls that label augmentation is compared with at equal cost.

    Returns:
        The figure; None where all methods of each setting cost the same.
    """
    panels = cost_panels(leaderboard)
    if not panels:
        return None
    looks = _looks_at_cost([part for _, part in panels], matched)
    sentences = [
        "Mean accuracy and its 95 % interval against images through the backbone in training.",
        "Points of equal cost stand side by side.",
        "Blue: self-supervised label augmentation. Orange: its controls of equal cost.",
    ]
    if any(short in looks and long in looks for short, long in SAME_BUT_LONGER.items()):
        sentences.append("Dashed: the same baseline with more steps.")
    if any((part["interval_kind"] == ONE_SEED).any() for _, part in panels):
        sentences.append(ALONE)
    plot = plot_height(1.8, (2 + len(part) for _, part in panels))
    with page([plot] * len(panels), " ".join(sentences)) as (figure, grid):
        label_axes(grid, "Training images", "Accuracy in %")
        for axes, (title, part) in zip(grid, panels, strict=True):
            head(axes, title)
            _draw_costs(axes, part, looks, 1.15 * style.LINE_INCHES / plot)
    return figure


def cost_panels(leaderboard: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Title and rows, best first, of the settings in which some method costs more than another."""
    rows = leaderboard.drop_duplicates(_ONE_METHOD)
    return [
        (title, part.sort_values("value", ascending=False, kind="stable"))
        for title, part in titled_groups(rows, _NAMED, [*_FURTHER, "train_shots"])
        if part["train_images"].nunique() > 1
    ]


def _looks_at_cost(parts: Sequence[pd.DataFrame], matched: Collection[str]) -> dict[str, Look]:
    """The same look in all panels, its marker distinct among those of one colour.

    Blue for label augmentation, orange for its controls of equal cost, grey for the others.
    """
    looks: dict[str, Look] = {}
    used: dict[str, int] = {}
    is_sla = {
        method: own for part in parts for method, own in zip(part["method"], part["is_sla"], strict=True)
    }
    for method in dict.fromkeys(method for part in parts for method in sorted(part["method"])):
        colour = MATCHED_COLOUR if method in matched else style.colour_of(is_sla[method])
        looks[method] = Look(colour, marker=_MARKERS[used.get(colour, 0) % len(_MARKERS)])
        used[colour] = used.get(colour, 0) + 1
    return looks


def _draw_costs(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look], line: float) -> None:
    """Points, and their list at the right; `line` is the height of one of its lines in fractions."""
    costs = rows["train_images"].to_numpy(dtype=np.float64)
    value_axis(axes, *interval_limits(rows[list(_ACCURACY)].to_numpy(dtype=np.float64)))
    name_places(axes, costs)
    places = side_by_side(costs)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, places.min() / 1.05), max(high, places.max() * 1.05))
    at = dict(zip(rows["method"], zip(places, rows["value"], strict=True), strict=True))
    for short, long in SAME_BUT_LONGER.items():
        if short in at and long in at:
            ends = np.array([at[short], at[long]]).T
            axes.plot(*ends, color=MATCHED_COLOUR, linewidth=0.9, linestyle=DASHES[1], zorder=2)
    write_beside(axes, "accuracy (views at test)", 1 - 0.4 * line, Look(style.GREY, marker=" "))
    for number, (place, row) in enumerate(
        zip(places.tolist(), rows.to_dict("records"), strict=True), start=1
    ):
        look, alone = looks[row["method"]], row["interval_kind"] == ONE_SEED
        if not np.isnan(row["ci95_low"]):
            axes.vlines(
                place, row["ci95_low"], row["ci95_high"], color=look.colour, linewidth=0.8, zorder=2.2
            )
        mark(axes, place, row["value"], look, alone)
        passes = "" if pd.isna(row["query_passes"]) else f" ({row['query_passes']:.0f})"
        text = f"{row['method']}  {row['value']:.1f}{passes}"
        write_beside(axes, text, 1 - (number + 0.4) * line, look, alone)


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


def learning_curves_figure(histories: pd.DataFrame) -> Figure | None:
    """Accuracy against images through the backbone.

    One line of panels per learner, and per data set, recipe, shots in training and the like where there are
    several: validation accuracy, its points joined, and training accuracy as a running mean over 10 % of the
    records. One line per run, one colour per method, named at its end. Under SLA the training task has more
    ways, so training curves of different methods are not comparable.

    Args:
        histories: as from `sla_bench.tables.files.histories`: one row per recorded step of each run,
            accuracies as fractions 0..1, NaN where not evaluated; `images`: through the backbone so far.

    Returns:
        The figure; None where no accuracy was recorded.
    """
    quantities = [q for q in _QUANTITIES if q in histories and histories[q].notna().any()]
    if not quantities:
        return None
    panels = _panels_of_runs(histories)
    of_sla = {name for _, runs in panels for name in runs.loc[runs["is_sla"], "line"]}
    names = {name for _, runs in panels for name in runs["line"]}
    ordered = sorted(names, key=lambda name: (name not in of_sla, name))
    pairs = itertools.cycle(itertools.product(DASHES[:3], style.COLOURS))
    looks = {name: Look(colour, dashes) for name, (dashes, colour) in zip(ordered, pairs, strict=False)}
    plot = plot_height(1.55, (runs["line"].nunique() for _, runs in panels))
    shown = list(itertools.product(panels, quantities))
    with page([plot] * len(shown), "", columns=len(quantities)) as (figure, grid):
        label_axes(grid, "Images through the backbone", "Accuracy in %")
        for axes, ((title, runs), quantity) in zip(grid, shown, strict=True):
            head(axes, f"{title}, {_QUANTITIES[quantity]}")
            ends = _draw_runs(axes, runs, quantity, looks)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            value_axis(axes, *axes.get_ylim())
            name_ends(axes, ends, looks, plot)
    return figure


def _panels_of_runs(histories: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Title and runs of each line of panels; the column `line` names the line of a run.

    That is the method where it tells the runs of a panel and seed apart, or with the transformation it does;
    else the label of the run.
    """
    named = ["dataset", "learner"] if histories["dataset"].nunique() > 1 else ["learner"]
    further = [column for column in _SPLITS if column in histories]
    panels = titled_groups(histories, named, further)
    if max(runs["label"].nunique() for _, runs in panels) > _MOST_RUNS:
        panels = titled_groups(histories, named, [*further, "transform"])
    with_views = (histories["method"] + " " + histories["transform"].fillna("")).str.strip()
    for name in (histories["method"], with_views, histories["label"]):
        lines = [(title, runs.assign(line=name.loc[runs.index].astype(str))) for title, runs in panels]
        if all(runs.groupby(["line", "seed"])["label"].nunique().max() == 1 for _, runs in lines):
            break
    return lines


def _draw_runs(axes: Axes, runs: pd.DataFrame, quantity: str, looks: dict[str, Look]) -> dict[str, float]:
    """Draw each run; return the mean height at which the runs of each line end."""
    ends: dict[str, list[float]] = {}
    for (line, _), run in runs.groupby(["line", "label"], sort=False):
        known = run[run[quantity].notna()].sort_values("images")
        if known.empty:
            continue
        values = 100 * known[quantity]
        if quantity == "train_accuracy":
            values = values.rolling(max(1, len(values) // 10), center=True, min_periods=1).mean()
        name, marker = str(line), "o" if quantity == "val_accuracy" else ""
        (drawn,) = axes.plot(known["images"], values, lw=0.9, marker=marker, ms=2)
        drawn.set(color=looks[name].colour, linestyle=looks[name].dashes)
        ends.setdefault(name, []).append(float(values.iloc[-1]))
    return {name: float(np.mean(values)) for name, values in ends.items()}
