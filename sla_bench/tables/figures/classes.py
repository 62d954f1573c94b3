"""Figures of classes by size: long tail, accuracies, confusions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from sla_bench.evaluation.statistics import mean_over_seeds
from sla_bench.tables.class_results import ClassResult, TrainingClasses, beside_baseline
from sla_bench.tables.figures import style
from sla_bench.tables.figures.matrices import MAP, draw_matrix
from sla_bench.tables.figures.page import above, head, page, seeds_note, spread_texts
from sla_bench.tables.row_key import BASELINE

GAIN_COLOUR, LOSS_COLOUR = "#7FB8DA", style.COLOURS[1]
_NAMED_CLASSES, _NAME_CHARACTERS = 20, 22
_DIFFERENCE = "difference"
_TIE_DECADES = 0.12
_CELL, _LEAST_SIDE, _UNNAMED_SIDE = 0.21, 2.2, 2.8
# the square root keeps a confusion of 5 % visible beside recalls of 90 %
_NORM = PowerNorm(0.5, vmin=0, vmax=100)


def class_counts_figure(training_sets: Mapping[str, TrainingClasses]) -> Figure | None:
    """Training images of each class on a logarithmic axis, one panel per training set, groups marked.

    Up to 20 classes bear their names, unless the seeds put different classes at a rank.

    Args:
        training_sets: by title, such as "cifar100, exp ratio 100".

    Returns:
        The figure; None where there is no training set.
    """
    if not training_sets:
        return None
    note = "Classes from the largest to the smallest; the vertical axis is logarithmic."
    if any(classes.names_by_rank is None for classes in training_sets.values()):
        note += " Ranks have no names where the seeds give head and tail to different classes."
    with page([1.3] * len(training_sets), note) as (figure, grid):
        for axes, (name, classes) in zip(grid, training_sets.items(), strict=True):
            sizes = classes.sizes
            summary = f"{classes.counts[0].sum():,} images, ratio {sizes[0] / sizes[-1]:.4g}"
            head(axes, name, summary, free=2)
            _draw_counts(axes, classes)
    return figure


def _draw_counts(axes: Axes, classes: TrainingClasses) -> None:
    sizes, labels = classes.sizes, _class_labels(classes)
    axes.set_yscale("log")
    axes.set_ylim(*_size_limits(sizes))
    _size_ticks(axes.yaxis, sizes)
    axes.set_xlim(0.5, len(sizes) + 0.5)
    edges = np.arange(len(sizes) + 1) + 0.5
    axes.stairs(sizes, edges, baseline=axes.get_ylim()[0], fill=True, color="#EDEDED", zorder=0.4)
    axes.stairs(sizes, edges, baseline=None, color=style.GREY, linewidth=1.1)
    _separate(axes, [span.start + 0.5 for span in classes.spans[1:]])
    axes.set_ylabel("Training images", labelpad=2)
    if labels is None:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_xlabel("Rank of the class by size", labelpad=2)
    else:
        axes.set_xticks(np.arange(1, len(sizes) + 1), labels, rotation=90)
    members = [span.stop - span.start for span in classes.spans]
    below = [f"{n} class" if n == 1 else f"{n} classes" for n in members]
    longest = [max(span.name, text, key=len) for span, text in zip(classes.spans, below, strict=True)]
    centres = [(span.start + span.stop) / 2 / len(sizes) for span in classes.spans]
    places = spread_texts(centres, longest, style.COLUMN_INCHES - 0.7).tolist()
    for span, text, place in zip(classes.spans, below, places, strict=True):
        above(axes, span.name, place, 1)
        above(axes, text, place, 0)


def class_accuracy_figure(results: Sequence[ClassResult]) -> Figure | None:
    """Recall of each class against its training images, the baseline in grey and SLA in blue.

    One panel per (data set, setting, loss) and row of SLA. A thin line leads from the baseline to SLA in
    each class. Horizontal lines are the means of the groups, shaded with their 95 % t interval over seeds
    where there are several; the figures and their paired difference in points stand above. Classes are
    matched by rank in size, since the seeds may give head and tail to different classes.

    Args:
        results: one per (data set, setting, loss, method), compared ones of the same seeds in the same order.

    Returns:
        The figure; None where no row of SLA has its baseline beside it.
    """
    pairs = [(base, other) for base, others in beside_baseline(results) for other in others]
    if not pairs:
        return None
    sentences = [
        f"Dot: one class, grey: {BASELINE}, blue: self-supervised label augmentation.",
        "The line between them is orange where label augmentation is worse.",
        "Horizontal line and figures above: mean of the group's classes, difference in points.",
    ]
    several = (
        "Means over {} seeds, classes matched by their rank in size. "
        "Shaded and ±: 95 % interval over seeds for this test set, of the difference paired."
    )
    sentences += seeds_note([base.classes.seeds for base, _ in pairs], several, "Hollow")
    with page([1.7] * len(pairs), " ".join(sentences)) as (figure, grid):
        for axes, (base, other) in zip(grid, pairs, strict=True):
            head(axes, base.training, free=4)
            _draw_classes(axes, base, other)
            _draw_groups(axes, base, other)
            place = axes.get_subplotspec()
            if place is not None and place.is_first_col():
                axes.set_ylabel("Accuracy of the class in %", labelpad=2)
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
    low, high = _size_limits(places)
    axes.set_xlim(high, low)
    _size_ticks(axes.xaxis, sizes)
    axes.set_ylim(-3, 103)
    colours = [GAIN_COLOUR if gain else LOSS_COLOUR for gain in after >= before]
    axes.vlines(places, before, after, colors=colours, linewidth=0.4 if many else 0.8, zorder=2)
    for values, result in ((before, base), (after, other)):
        colour = style.colour_of(result.is_sla)
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
    style.grid(axes)


def _draw_groups(axes: Axes, base: ClassResult, other: ClassResult) -> None:
    """Group means as lines and shades, and as a small table above the axes."""
    spans, sizes = base.classes.spans, base.classes.sizes
    high, low = axes.get_xlim()
    borders = [high, *(float(np.sqrt(sizes[s.start - 1] * sizes[s.start])) for s in spans[1:]), low]
    _separate(axes, borders[1:-1])
    columns = []
    for span, ends in zip(spans, itertools.pairwise(borders), strict=True):
        before, after = (
            result.recalls_by_rank[:, span.start : span.stop].mean(axis=1) for result in (base, other)
        )
        for values, result in ((before, base), (after, other)):
            _draw_mean(axes, ends, values, style.colour_of(result.is_sla))
        means = [f"{100 * values.mean():.1f}" for values in (before, after)]
        columns.append((span.name, *means, _difference_text(after - before)))
    names = ("", base.method, other.method, _DIFFERENCE)
    colours = (style.GREY, style.colour_of(base.is_sla), style.colour_of(other.is_sla), "black")
    across = np.log(high / np.array(borders)) / np.log(high / low)
    inches = style.COLUMN_INCHES - 0.3 - style.CHARACTER_INCHES * max(map(len, names))
    longest = [max(column, key=len) for column in columns]
    places = spread_texts(((across[:-1] + across[1:]) / 2).tolist(), longest, inches).tolist()
    for row, (name, colour) in enumerate(zip(names, colours, strict=True)):
        above(axes, name, 0, 3 - row, colour, ha="right")
        for place, column in zip(places, columns, strict=True):
            above(axes, column[row], place, 3 - row, colour)


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


def confusions_figure(results: Sequence[ClassResult]) -> Figure | None:
    """Mean confusion matrices in % of the true class, one line per (data set, setting, loss).

    The baseline is first, the rows of SLA follow. Both axes run from the largest training class to the
    smallest. Up to 20 classes have numbers, from 0.5 % on, and names; where the seeds put different classes
    at a rank, the class sizes take the place of the names.

    Args:
        results: as `class_accuracy_figure`; those without confusions are left out.

    Returns:
        The figure; None where no row of SLA has its baseline beside it, both with confusions.
    """
    known = [result for result in results if result.confusions is not None]
    lines = [[base, *others] for base, others in beside_baseline(known)]
    if not lines:
        return None
    found = [(n, column, one) for n, line in enumerate(lines) for column, one in enumerate(line)]
    side = max(_side(line[0].classes) for line in lines)
    columns = max(map(len, lines))
    places = [(n, column) for n, column, _ in found]
    note = _note_on_confusions(lines)
    with page([side] * len(found), note, columns, places, [side] * columns) as (figure, grid):
        for axes, (_, column, result) in zip(grid, found, strict=True):
            _draw_confusion(axes, result, side, first=column == 0)
        mappable = ScalarMappable(_NORM, MAP)
        bar = figure.colorbar(mappable, ax=grid[len(lines[0]) - 1], ticks=[0, 1, 5, 20, 50, 100], aspect=18)
        bar.ax.set_yticklabels(["0", "1", "5", "20", "50", "100 %"])
        bar.minorticks_off()
    return figure


def _shows_cells(classes: TrainingClasses) -> bool:
    return len(classes.names) <= _NAMED_CLASSES


def _side(classes: TrainingClasses) -> float:
    return max(_LEAST_SIDE, _CELL * len(classes.names)) if _shows_cells(classes) else _UNNAMED_SIDE


def _draw_confusion(axes: Axes, result: ClassResult, side: float, first: bool) -> None:
    classes, rates = result.classes, result.confusion_by_rank
    assert rates is not None
    percent, cells = 100 * rates, _shows_cells(classes)
    if cells:
        sizes = [f"{size:,.0f}" for size in classes.sizes]
        names = _class_labels(classes) or [""] * len(sizes)
        labels = [f"{name} {size}".strip() for name, size in zip(names, sizes, strict=True)]
        ticks = np.arange(len(labels), dtype=np.float64)
    else:
        labels = [span.name for span in classes.spans]
        centres = [(span.start + span.stop) / 2 / len(rates) for span in classes.spans]
        ticks = spread_texts(centres, labels, side) * len(rates) - 0.5
    names_of_axes = ("Predicted class", "True class" if first else "")
    least = 0.5 if cells else None
    draw_matrix(axes, percent, _NORM, (ticks.tolist(), labels), names_of_axes, least, upright=cells)
    for span in classes.spans[1:]:
        for line in (axes.axvline, axes.axhline):
            line(span.start - 0.5, color=style.GREY, linewidth=0.6)
    share = f"{result.method}: mean of the diagonal {percent.diagonal().mean():.1f} %"
    colour = style.colour_of(result.is_sla)
    head(axes, result.training if first else "", free=1, width=max(side, style.COLUMN_INCHES))
    above(axes, share, 0, 0, colour, ha="left")


def _note_on_confusions(lines: Sequence[Sequence[ClassResult]]) -> str:
    sentences = [
        "Share of the test images of the true class (row) in %, colour by its square root.",
        "Both axes from the largest training class to the smallest, lines between the groups.",
    ]
    if any(_shows_cells(line[0].classes) for line in lines):
        sentences.append("Numbers along the axes: training images; cells below 0.5 % are empty.")
    seeds = [line[0].classes.seeds for line in lines]
    sentences += seeds_note(seeds, "Mean over {} seeds, classes matched by their rank in size.")
    return " ".join(sentences)


def _class_labels(classes: TrainingClasses) -> list[str] | None:
    """Names by rank, long ones cut; None where they cannot be shown: too many, or not one class per rank."""
    names = classes.names_by_rank
    if names is None or len(names) > _NAMED_CLASSES:
        return None
    return [n if len(n) <= _NAME_CHARACTERS else n[: _NAME_CHARACTERS - 1] + "…" for n in names]


def _size_ticks(axis: Axis, sizes: np.ndarray) -> None:
    """Label powers of ten in full; 2 and 5 times them too where all sizes (n,) lie within two decades."""
    steps = (1.0, 2.0, 5.0) if sizes.max() <= 100 * sizes.min() else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def _size_limits(sizes: np.ndarray) -> tuple[float, float]:
    """Lower and upper limit of a logarithmic axis for sizes (n,), with a margin at both ends."""
    margin = (sizes.max() / sizes.min()) ** 0.06 * 1.08
    return float(sizes.min() / margin), float(sizes.max() * margin)


def _separate(axes: Axes, borders: Iterable[float]) -> None:
    """Draw the borders between groups, which are places on the horizontal axis."""
    for border in borders:
        axes.axvline(border, color="#BBBBBB", linewidth=0.6, zorder=0.5)
