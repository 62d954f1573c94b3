"""Figures of the views of test images: accuracies, agreement against gain, confusions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sla_bench.evaluation.statistics import MeanInterval
from sla_bench.evaluation.view_metrics import ConfusedPair, confused_pairs, view_confusion
from sla_bench.tables.figures import style
from sla_bench.tables.figures.lines import (
    MOST_LINES,
    Look,
    label_axes,
    looks_of,
    mark,
    name_ends,
    plot_height,
    value_axis,
)
from sla_bench.tables.figures.matrices import draw_matrix
from sla_bench.tables.figures.page import above, head, page, seeds_note
from sla_bench.tables.figures.style import interval_limits
from sla_bench.tables.table_texts import ALONE
from sla_bench.tables.view_results import ANY, OWN, HeadViews, ViewSetting
from sla_bench.tables.view_tables import MOST_PAIRS, view_label

_APART = 0.07
"""Lines beside each other, so that none covers the interval of another; one view is 1 wide."""
_NUMBERED_VIEWS, _SMALL = 6, 0.6 * style.FONT_POINTS
"""Names of more views are written upwards and in a smaller font."""
_SIDE, _BAR, _BARS = 1.5, 0.17, 3.3
_NAME_CHARACTERS = 18
_RECOGNISED, _MISTAKEN = "#AAAAAA", style.COLOURS[1]


def view_figures(settings: Sequence[ViewSetting]) -> dict[str, Figure | None]:
    """File name without ending -> figure; None where nothing was analysed for it.

    Args:
        settings: of one scenario, at least one.
    """
    return {
        "view_accuracies": view_accuracies_figure(settings),
        "view_agreement": view_agreement_figure(settings),
        "view_confusions": view_confusions_figure(settings),
    }


def view_accuracies_figure(settings: Sequence[ViewSetting]) -> Figure:
    """Accuracy in % with 95 % intervals by view, and at the right of the mean over the views.

    One panel per setting. A joint head is read over the columns of the view's own transformation. Unless that
    would be too many lines, it has a second one: over all its columns ("any"), without a mean over the views.

    Args:
        settings: at least one.
    """
    curves = [_curves(setting) for setting in settings]
    labels = {view_label(one, of): one.is_sla for s in settings for one in s.heads for of in (OWN, ANY)}
    looks = looks_of({name: labels[name] for own in curves for name in own})
    plot = plot_height(2.0, map(len, curves))
    caption = _caption_of_accuracies(settings, looks)
    with page([plot] * len(settings), caption) as (figure, grid):
        label_axes(grid, "View of the test image", "Accuracy in %")
        for axes, setting, own in zip(grid, settings, curves, strict=True):
            head(axes, setting.title)
            ticks = [*setting.view_names, "mean"]
            for place, (name, intervals) in enumerate(own.items()):
                aside = _APART * (place - (len(own) - 1) / 2)
                _draw_views(axes, intervals, len(ticks) - 1, aside, looks[name])
            axes.set_xlim(-0.4, len(ticks) - 0.6)
            axes.set_xticks(range(len(ticks)), ticks)
            if len(ticks) - 1 > _NUMBERED_VIEWS:
                axes.tick_params(axis="x", rotation=90, labelsize=_SMALL)
            axes.axvline(len(ticks) - 1.5, color="#BBBBBB", linewidth=0.6, zorder=0.5)
            found = [_percent(interval) for intervals in own.values() for interval in intervals]
            value_axis(axes, *interval_limits(np.array(found)))
            name_ends(axes, {n: 100 * i[-1].estimate for n, i in own.items()}, looks, plot)
    return figure


def _curves(setting: ViewSetting) -> dict[str, list[MeanInterval]]:
    """Name -> an interval per view, and that of the mean over the views where there is one."""
    found = {}
    second = len(setting.heads) + sum(head.is_joint for head in setting.heads) <= MOST_LINES
    for one in setting.heads:
        found[view_label(one, OWN)] = [*one.accuracies, one.aggregated_accuracy]
        if one.is_joint and second:
            found[view_label(one, ANY)] = one.accuracies_of_all_columns
    return found


def _percent(interval: MeanInterval) -> tuple[float, float, float]:
    return 100 * interval.estimate, 100 * interval.low, 100 * interval.high


def _draw_views(axes: Axes, intervals: Sequence[MeanInterval], views: int, aside: float, look: Look) -> None:
    x = np.arange(len(intervals)) + aside
    value, low, high = np.array([_percent(interval) for interval in intervals]).T
    # The mean over the views is no view: no line leads to it.
    axes.plot(x[:views], value[:views], color=look.colour, linestyle=look.dashes, linewidth=0.9)
    axes.vlines(x, low, high, color=look.colour, linewidth=0.9, alpha=0.7)
    for place, height, interval in zip(x.tolist(), value.tolist(), intervals, strict=True):
        mark(axes, place, height, look, interval.seeds == 1)


def _caption_of_accuracies(settings: Sequence[ViewSetting], shown: Collection[str]) -> str:
    sentences = [
        "Each head on every view of the test images.",
        "Vertical lines: 95 % intervals; an interval at the frame continues beyond it.",
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


def view_agreement_figure(settings: Sequence[ViewSetting]) -> Figure:
    """Gain of averaging in points against agreement of pairs of views in %, both with 95 % intervals.

    One panel per setting, one marker per head, and small dots for the classes.

    Args:
        settings: at least one.
    """
    looks = looks_of({head.name: head.is_sla for setting in settings for head in setting.heads})
    plot = plot_height(2.0, (len(setting.heads) for setting in settings))
    sentences = [
        "Marker: one head over all classes. Small dots: the classes.",
        "Lines: 95 % intervals; an interval at the frame continues beyond it.",
        "Upright: the image as it is; averaged: scores averaged over all views.",
        "A joint head (SLA) is read in the columns of the view's own transformation.",
        *([ALONE] if any(setting.one_seed for setting in settings) else []),
    ]
    with page([plot] * len(settings), " ".join(sentences)) as (figure, grid):
        label_axes(grid, "Pairs of views that agree in %", "Averaged \N{MINUS SIGN} upright in points")
        for axes, setting in zip(grid, settings, strict=True):
            head(axes, setting.title)
            axes.axhline(0, color="black", linewidth=0.8, zorder=1)
            for one in setting.heads:
                _draw_agreement(axes, one, looks[one.name])
            agreements, gains = ([h.by_class[k] for h in setting.heads] for k in (0, 1))
            axes.set_xlim(*_limits([h.agreement for h in setting.heads], agreements))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
            value_axis(axes, *_limits([h.gain for h in setting.heads], gains))
            name_ends(axes, {h.name: 100 * h.gain.estimate for h in setting.heads}, looks, plot)
    return figure


def _limits(intervals: Sequence[MeanInterval], of_classes: Sequence[np.ndarray]) -> tuple[float, float]:
    """Of an axis in %; an interval that would flatten everything else is cut."""
    ends = np.array([_percent(interval) for interval in intervals])
    return interval_limits(ends, (100 * np.concatenate(of_classes)).tolist())


def _draw_agreement(axes: Axes, one: HeadViews, look: Look) -> None:
    of_classes, gains = one.by_class
    axes.scatter(100 * of_classes, 100 * gains, s=4, color=look.colour, alpha=0.3, linewidths=0, zorder=1.5)
    (x, left, right), (y, low, high) = _percent(one.agreement), _percent(one.gain)
    axes.hlines(y, left, right, color=look.colour, linewidth=1.1, zorder=3)
    axes.vlines(x, low, high, color=look.colour, linewidth=1.1, zorder=3)
    mark(axes, x, y, look, one.gain.seeds == 1)


def view_confusions_figure(settings: Sequence[ViewSetting]) -> Figure | None:
    """Confusions of views in % of the true view, and the pairs of classes that are confused most.

    One line per head that tells the view. The bar of a pair has two parts: views whose transformation was
    recognised, and views whose transformation was mistaken too, that is, the class looks like the other one
    turned.

    Args:
        settings: any number.

    Returns:
        The figure; None where no head tells the view.
    """
    lines = [
        (setting, one, _pairs(setting, one))
        for setting in settings
        for one in setting.heads
        if one.recognised is not None
    ]
    if not lines:
        return None
    # The left panel of a line, and the right one where it has pairs.
    parts = [(n, column) for n, (*_, pairs) in enumerate(lines) for column in range(2 if pairs else 1)]
    heights = [_BAR * len(lines[n][2]) if column else _SIDE for n, column in parts]
    caption = _caption_of_confusions(lines)
    with page(heights, caption, 2, parts, [_SIDE, _BARS]) as (figure, grid):
        for axes, (n, column) in zip(grid, parts, strict=True):
            setting, one, pairs = lines[n]
            if column:
                head(axes, "", free=1)
                _draw_pairs(axes, setting, pairs)
            else:
                head(axes, f"{setting.title}: {one.name}", free=1, width=2 * style.COLUMN_INCHES)
                _draw_confusion(axes, setting, one)
    return figure


def _pairs(setting: ViewSetting, one: HeadViews) -> list[ConfusedPair]:
    if one.joint is None:
        return []
    return confused_pairs(one.joint, one.labels, setting.view_turns, MOST_PAIRS)


def _draw_confusion(axes: Axes, setting: ViewSetting, one: HeadViews) -> None:
    assert one.recognised is not None
    few = len(setting.view_names) <= _NUMBERED_VIEWS
    ticks = (range(len(setting.view_names)), setting.view_names)
    draw_matrix(
        axes,
        100 * view_confusion(one.recognised),
        Normalize(0, 100),
        ticks,
        ("Taken for", "View"),
        least=0.0 if few else None,
        upright=not few,
        size=style.FONT_POINTS if few else _SMALL,
    )
    above(axes, f"View: {100 * one.recognised_share:.1f} % recognised", 0, 0, "black", ha="left")


def _draw_pairs(axes: Axes, setting: ViewSetting, pairs: Sequence[ConfusedPair]) -> None:
    share, mistaken = (
        100 * np.array(values) for values in zip(*((p.share, p.mistaken) for p in pairs), strict=True)
    )
    places = np.arange(len(share))
    axes.barh(places, share - mistaken, height=0.7, color=_RECOGNISED)
    axes.barh(places, mistaken, left=share - mistaken, height=0.7, color=_MISTAKEN)
    axes.set_ylim(len(share) - 0.5, -0.5)
    axes.set_yticks(places, [_pair_label(setting, pair) for pair in pairs])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Views of the class in %", labelpad=2)
    above(axes, "transformation recognised", 0, 0, ha="left")
    above(axes, "mistaken", 1, 0, _MISTAKEN, ha="right")


def _pair_label(setting: ViewSetting, pair: ConfusedPair) -> str:
    true, predicted = (_short(setting.class_names[c]) for c in (pair.true, pair.predicted))
    turned = f", {90 * pair.turn}°" if setting.turns and pair.turn else ""
    return f"{true} \N{RIGHTWARDS ARROW} {predicted}{turned}"


def _short(name: str) -> str:
    # Names of folders in folders begin alike.
    return name if len(name) <= _NAME_CHARACTERS else "…" + name[1 - _NAME_CHARACTERS :]


def _caption_of_confusions(lines: Sequence[tuple[ViewSetting, HeadViews, list[ConfusedPair]]]) -> str:
    sentences = ["Left: share of the views (rows) recognised as each view, in %."]
    if any(pairs for *_, pairs in lines):
        sentences.append(
            "Right: views of a class that a joint head reads as another class; in orange, those whose "
            "transformation is mistaken as well."
        )
    if any(pairs and setting.turns for setting, _, pairs in lines):
        sentences.append(
            "Degrees: by how much the class most often looks turned, counter-clockwise; none: upright."
        )
    return " ".join([*sentences, *seeds_note([one.seeds for _, one, _ in lines], "Over {} seeds.")])
