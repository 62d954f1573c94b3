"""Accuracy of each class against its size, before and after: does label augmentation help head or tail?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sla_bench.reporting import class_axes, style
from sla_bench.reporting.class_results import ClassResult, beside_reference
from sla_bench.statistics import mean_over_seeds

GAIN_COLOUR, LOSS_COLOUR = "#7FB8DA", style.COLOURS[1]
_PLOT_HEIGHT = 1.7
_RIGHT, _TICKS, _GAP = 0.14, 0.36, 0.12
_DIFFERENCE = "difference"
_TIE_DECADES = 0.12


def class_accuracy_figure(results: Sequence[ClassResult], reference: str = "baseline") -> Figure:
    """Recall of each class against its training images, the reference in grey and SLA in blue.

    One panel per (data set, setting, loss) and row of SLA. A thin line leads from the reference to SLA in
    each class. Horizontal lines are the means of the groups, shaded with their 95 % t interval over seeds
    where there are several; the figures and their paired difference in points stand above. Classes are
    matched by rank in size, since the seeds may give head and tail to different classes.

    Args:
        results: at least one reference with a row of SLA beside it.
        reference: the method to compare with.

    Raises:
        UserError: as `sla_bench.reporting.class_results.beside_reference`.
    """
    pairs = [(base, other) for base, others in beside_reference(results, reference) for other in others]
    columns = class_axes.columns_of(len(pairs))
    width = columns * style.COLUMN_INCHES
    left = max(
        0.45, 0.15 + class_axes.label_width([_DIFFERENCE, *(r.method for pair in pairs for r in pair)])
    )
    titles = [style.wrap(base.training, int(style.COLUMN_INCHES / style.BOLD_INCHES)) for base, _ in pairs]
    top = style.LINE_INCHES * (5 + max(title.count("\n") for title in titles)) + 0.1
    note = _note(pairs, reference)
    lines = -(-len(pairs) // columns)
    panel_height = top + _PLOT_HEIGHT + _TICKS + _GAP
    total = lines * panel_height + class_axes.caption_height(note, width)
    with style.styled():
        figure = style.new_figure(width, total)
        for place, (base, other) in enumerate(pairs):
            line, column = divmod(place, columns)
            axes = figure.add_axes(
                (
                    (column * style.COLUMN_INCHES + left) / width,
                    (total - line * panel_height - top - _PLOT_HEIGHT) / total,
                    (style.COLUMN_INCHES - left - _RIGHT) / width,
                    _PLOT_HEIGHT / total,
                )
            )
            class_axes.at_left_edge(axes, titles[place], left, lines=4, bold=True)
            _draw_classes(axes, base, other)
            _draw_groups(axes, base, other, left)
            if column == 0:
                axes.set_ylabel("Accuracy of the class in %", labelpad=2)
        class_axes.caption(figure, note)
    return figure


def spread_ties(sizes: np.ndarray) -> np.ndarray:
    """Places on a logarithmic axis: equal sizes side by side, never past halfway to the next size.

    Args:
        sizes: (N,) falling.

    Returns:
        (N,) falling.
    """
    distinct, member, ties = np.unique(-np.log10(sizes), return_inverse=True, return_counts=True)
    gaps = np.diff(distinct, prepend=-np.inf, append=np.inf)
    reach = np.minimum(_TIE_DECADES, 0.4 * np.minimum(gaps[:-1], gaps[1:]))
    first = np.cumsum(ties) - ties
    within = np.arange(len(sizes)) - first[member]
    offset = (2 * within + 1) / ties[member] - 1
    return 10 ** -(distinct[member] + np.where(ties[member] > 1, offset * reach[member], 0))


def _draw_classes(axes: Axes, base: ClassResult, other: ClassResult) -> None:
    sizes = base.classes.sizes
    places = spread_ties(sizes)
    before, after = (100 * result.recalls_by_rank.mean(axis=0) for result in (base, other))
    many = len(sizes) > 200
    axes.set_xscale("log")
    low, high = class_axes.size_limits(places)
    axes.set_xlim(high, low)
    class_axes.size_ticks(axes.xaxis, sizes)
    axes.set_ylim(-3, 103)
    axes.vlines(
        places,
        before,
        after,
        colors=[GAIN_COLOUR if gain else LOSS_COLOUR for gain in after >= before],
        linewidth=0.4 if many else 0.8,
        zorder=2,
    )
    for values, result in ((before, base), (after, other)):
        colour = style.method_colour(result.method)
        axes.plot(
            places,
            values,
            "o",
            color=colour,
            markerfacecolor="white" if result.classes.seeds == 1 else colour,
            markersize=1.2 if many else 2.8,
            markeredgewidth=0.7,
            zorder=2.2 if many else 3,
            clip_on=False,
        )
    axes.set_xlabel("Training images of the class", labelpad=2)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_groups(axes: Axes, base: ClassResult, other: ClassResult, left: float) -> None:
    """Group means as lines and shades, and as a small table above the axes."""
    spans, sizes = base.classes.spans, base.classes.sizes
    high, low = axes.get_xlim()
    borders = [high, *(float(np.sqrt(sizes[s.start - 1] * sizes[s.start])) for s in spans[1:]), low]
    class_axes.separate(axes, borders[1:-1])
    columns = []
    for span, ends in zip(spans, itertools.pairwise(borders), strict=True):
        before, after = (
            result.recalls_by_rank[:, span.start : span.stop].mean(axis=1) for result in (base, other)
        )
        for values, result in ((before, base), (after, other)):
            _draw_mean(axes, ends, values, style.method_colour(result.method))
        means = [f"{100 * values.mean():.1f}" for values in (before, after)]
        columns.append((span.name, *means, _difference_text(after - before)))
    inches = style.COLUMN_INCHES - left - _RIGHT
    across = np.log(high / np.array(borders)) / np.log(high / low)
    longest = [max(column, key=len) for column in columns]
    places = class_axes.side_by_side((across[:-1] + across[1:]) / 2, longest, inches)
    rows = (
        ("", style.GREY),
        (base.method, style.method_colour(base.method)),
        (other.method, style.method_colour(other.method)),
        (_DIFFERENCE, "black"),
    )
    for row, (name, colour) in enumerate(rows):
        class_axes.at_left_edge(axes, name, left, lines=3 - row, colour=colour)
        for place, column in zip(places.tolist(), columns, strict=True):
            class_axes.above(axes, column[row], place, lines=3 - row, colour=colour)


def _draw_mean(axes: Axes, ends: tuple[float, float], values: np.ndarray, colour: str) -> None:
    found = mean_over_seeds(values)
    axes.hlines(100 * found.estimate, *ends, color=colour, linewidth=1.3, zorder=2.5)
    if not np.isnan(found.low):
        low, high = 100 * found.low, 100 * found.high
        axes.fill_between(ends, low, high, color=colour, alpha=0.15, linewidth=0, zorder=1)


def _difference_text(differences: np.ndarray) -> str:
    found = mean_over_seeds(differences, share=False)
    text = f"{100 * found.estimate:+.1f}".replace("-", "\N{MINUS SIGN}")
    return text if np.isnan(found.low) else f"{text} ± {100 * (found.high - found.estimate):.1f}"


def _note(pairs: Sequence[tuple[ClassResult, ClassResult]], reference: str) -> str:
    seeds = {base.classes.seeds for base, _ in pairs}
    sentences = [
        f"Dot: one class, grey: {reference}, blue: self-supervised label augmentation.",
        "The line between them is orange where label augmentation is worse.",
        "Horizontal line and figures above: mean of the group's classes, difference in points.",
    ]
    if max(seeds) > 1:
        counts = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"{max(seeds)}"
        sentences.append(f"Means over {counts} seeds, classes matched by their rank in size.")
        sentences.append(
            "Shaded and ±: 95 % interval over seeds for this test set, of the difference paired."
        )
    if min(seeds) == 1:
        sentences.append("Hollow: one trained model per method; seed variation is not in it.")
    return " ".join(sentences)
