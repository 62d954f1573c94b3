"""Confusion matrices of the reference and of label augmentation side by side, head classes first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from sla_bench.reporting import class_axes, style
from sla_bench.reporting.class_results import ClassResult, TrainingClasses, beside_reference

_CELL, _LEAST_SIDE, _UNNAMED_SIDE = 0.21, 2.2, 2.8
_GAP, _BAR = 0.16, 0.62
# the square root keeps a confusion of 5 % visible beside recalls of 90 %
_NORM = PowerNorm(0.5, vmin=0, vmax=100)
_MAP = "Blues"
_DARK = 45


def confusions_figure(results: Sequence[ClassResult], reference: str = "baseline") -> Figure:
    """Mean confusion matrices in % of the true class, one line per (data set, setting, loss).

    The reference is first, the rows of SLA follow. Both axes run from the largest training class to the
    smallest. Up to 20 classes have numbers, from 0.5 % on, and names; where the seeds put different classes
    at a rank, the class sizes take the place of the names.

    Args:
        results: at least one reference with a row of SLA beside it, both with confusions.
        reference: the method to show first.

    Raises:
        UserError: as `sla_bench.reporting.class_results.beside_reference`.
    """
    known = [result for result in results if result.confusions is not None]
    lines = [[base, *others] for base, others in beside_reference(known, reference)]
    sides = [_side(line[0].classes) for line in lines]
    labels = [_labels(line[0].classes) for line in lines]
    left = 0.3 + max(map(class_axes.label_width, labels))
    width = left + _BAR + max(len(line) * (side + _GAP) for line, side in zip(lines, sides, strict=True))
    feet = [
        0.32 + (class_axes.label_width(own) if _shows_cells(line[0].classes) else style.LINE_INCHES)
        for line, own in zip(lines, labels, strict=True)
    ]
    note = _note(lines)
    titles = [style.wrap(line[0].training, int(width / style.BOLD_INCHES)) for line in lines]
    top = style.LINE_INCHES * (2 + max(title.count("\n") for title in titles)) + 0.1
    total = sum(sides) + sum(feet) + len(lines) * top + class_axes.caption_height(note, width)
    with style.styled():
        figure = style.new_figure(width, total)
        y = total
        for line, side, own, foot, title in zip(lines, sides, labels, feet, titles, strict=True):
            y -= top + side
            for column, result in enumerate(line):
                axes = figure.add_axes(
                    (
                        (left + column * (side + _GAP)) / width,
                        y / total,
                        side / width,
                        side / total,
                    )
                )
                _draw(axes, result, own, first=column == 0)
                if column == 0:
                    class_axes.at_left_edge(axes, title, left, lines=1, bold=True)
            y -= foot
        end = left + len(lines[0]) * (sides[0] + _GAP)
        bar = figure.add_axes((end / width, (total - top - sides[0]) / total, 0.12 / width, sides[0] / total))
        figure.colorbar(ScalarMappable(_NORM, _MAP), cax=bar, ticks=[0, 1, 5, 20, 50, 100])
        bar.set_yticklabels(["0", "1", "5", "20", "50", "100 %"])
        bar.minorticks_off()
        class_axes.caption(figure, note)
    return figure


def _shows_cells(classes: TrainingClasses) -> bool:
    return len(classes.names) <= class_axes.NAMED_CLASSES


def _side(classes: TrainingClasses) -> float:
    return max(_LEAST_SIDE, _CELL * len(classes.names)) if _shows_cells(classes) else _UNNAMED_SIDE


def _labels(classes: TrainingClasses) -> list[str]:
    """One per class with its size, or one per group where there are too many classes."""
    if not _shows_cells(classes):
        return [span.name for span in classes.spans]
    sizes = [f"{size:,.0f}" for size in classes.sizes]
    names = class_axes.class_labels(classes)
    return sizes if names is None else [f"{n} {s}" for n, s in zip(names, sizes, strict=True)]


def _draw(axes: Axes, result: ClassResult, labels: Sequence[str], first: bool) -> None:
    classes, rates = result.classes, result.confusion_by_rank
    assert rates is not None
    percent = 100 * rates
    axes.imshow(percent, cmap=_MAP, norm=_NORM, aspect="auto", interpolation="nearest")
    for span in classes.spans[1:]:
        for line in (axes.axvline, axes.axhline):
            line(span.start - 0.5, color=style.GREY, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_visible(True)
    cells = _shows_cells(classes)
    if cells:
        ticks = np.arange(len(labels), dtype=np.float64)
        for row, column in np.argwhere(percent >= 0.5).tolist():
            value = percent[row, column]
            axes.text(
                column,
                row,
                f"{value:.0f}",
                ha="center",
                va="center_baseline",
                color="white" if value > _DARK else "black",
            )
    else:
        centres = [(span.start + span.stop) / 2 / len(rates) for span in classes.spans]
        ticks = class_axes.side_by_side(centres, labels, _UNNAMED_SIDE) * len(rates) - 0.5
    axes.set_xticks(ticks, labels, rotation=90 if cells else 0)
    axes.set_yticks(ticks, labels if first else [])
    axes.tick_params(length=0)
    axes.set_xlabel("Predicted class", labelpad=3)
    if first:
        axes.set_ylabel("True class", labelpad=3)
    axes.set_title(
        f"{result.method}: mean of the diagonal {percent.diagonal().mean():.1f} %",
        color=style.method_colour(result.method),
        pad=3,
        fontweight="normal",
    )


def _note(lines: Sequence[Sequence[ClassResult]]) -> str:
    seeds = {line[0].classes.seeds for line in lines}
    sentences = [
        "Share of the test images of the true class (row) in %, colour by its square root.",
        "Both axes from the largest training class to the smallest, lines between the groups.",
    ]
    if any(_shows_cells(line[0].classes) for line in lines):
        sentences.append("Numbers along the axes: training images; cells below 0.5 % are empty.")
    if max(seeds) > 1:
        counts = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"{max(seeds)}"
        sentences.append(f"Mean over {counts} seeds, classes matched by their rank in size.")
    if min(seeds) == 1:
        sentences.append("One seed: one trained model per method; seed variation is not in it.")
    return " ".join(sentences)
