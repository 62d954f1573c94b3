"""The long tail of training sets: images per class, from the largest class to the smallest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sla_bench.reporting import class_axes, style
from sla_bench.reporting.class_results import TrainingClasses

_PLOT_HEIGHT = 1.3
_LEFT, _RIGHT, _GAP = 0.55, 0.12, 0.12


def class_counts_figure(training_sets: Mapping[str, TrainingClasses]) -> Figure:
    """Training images of each class on a logarithmic axis, one panel per training set, groups marked.

    Up to 20 classes bear their names, unless the seeds put different classes at a rank.

    Args:
        training_sets: at least one, by the title of its panel.
    """
    columns = class_axes.columns_of(len(training_sets))
    width = columns * style.COLUMN_INCHES
    titles = {name: style.wrap(name, int(style.COLUMN_INCHES / style.BOLD_INCHES)) for name in training_sets}
    panels = list(training_sets.items())
    top = style.LINE_INCHES * (4 + max(title.count("\n") for title in titles.values())) + 0.06
    grid = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    bottoms = [max(_foot(classes) for _, classes in line) for line in grid]
    note = "Classes from the largest to the smallest; the vertical axis is logarithmic."
    if any(classes.names_by_rank is None for _, classes in panels):
        note += " Ranks have no names where the seeds give head and tail to different classes."
    foot = class_axes.caption_height(note, width)
    total = len(grid) * (top + _PLOT_HEIGHT + _GAP) + sum(bottoms) + foot
    with style.styled():
        figure = style.new_figure(width, total)
        y = total
        for line, bottom in zip(grid, bottoms, strict=True):
            y -= top + _PLOT_HEIGHT
            for column, (name, classes) in enumerate(line):
                axes = figure.add_axes(
                    (
                        (column * style.COLUMN_INCHES + _LEFT) / width,
                        y / total,
                        (style.COLUMN_INCHES - _LEFT - _RIGHT) / width,
                        _PLOT_HEIGHT / total,
                    )
                )
                class_axes.at_left_edge(axes, titles[name], _LEFT, lines=3, bold=True)
                _draw(axes, classes)
            y -= bottom + _GAP
        class_axes.caption(figure, note)
    return figure


def _foot(classes: TrainingClasses) -> float:
    labels = class_axes.class_labels(classes)
    return 0.38 if labels is None else 0.08 + class_axes.label_width(labels)


def _draw(axes: Axes, classes: TrainingClasses) -> None:
    sizes, labels = classes.sizes, class_axes.class_labels(classes)
    ranks = np.arange(1, len(sizes) + 1)
    axes.set_yscale("log")
    axes.set_ylim(*class_axes.size_limits(sizes))
    class_axes.size_ticks(axes.yaxis, sizes)
    axes.set_xlim(0.5, len(sizes) + 0.5)
    edges = np.arange(len(sizes) + 1) + 0.5
    axes.stairs(sizes, edges, baseline=axes.get_ylim()[0], fill=True, color="#EDEDED", zorder=0.4)
    axes.stairs(sizes, edges, baseline=None, color=style.GREY, linewidth=1.1)
    class_axes.separate(axes, [span.start + 0.5 for span in classes.spans[1:]])
    axes.set_ylabel("Training images", labelpad=2)
    if labels is None:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_xlabel("Rank of the class by size", labelpad=2)
    else:
        axes.set_xticks(ranks, labels, rotation=90)
    _name_groups(axes, classes)


def _name_groups(axes: Axes, classes: TrainingClasses) -> None:
    sizes = classes.sizes
    summary = f"{classes.counts[0].sum():,} images, ratio {sizes[0] / sizes[-1]:.4g}"
    class_axes.at_left_edge(axes, summary, _LEFT, lines=2)
    members = [span.stop - span.start for span in classes.spans]
    below = [f"{n} class" if n == 1 else f"{n} classes" for n in members]
    longest = [max(span.name, text, key=len) for span, text in zip(classes.spans, below, strict=True)]
    centres = [(span.start + span.stop) / 2 / len(sizes) for span in classes.spans]
    places = class_axes.side_by_side(centres, longest, style.COLUMN_INCHES - _LEFT - _RIGHT)
    for span, text, place in zip(classes.spans, below, places.tolist(), strict=True):
        class_axes.above(axes, span.name, place, lines=1)
        class_axes.above(axes, text, place, lines=0)
