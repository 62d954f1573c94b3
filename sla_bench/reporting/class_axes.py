"""What the pictures of classes have in common: logarithmic sizes, groups, names, page layout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sla_bench.reporting import style
from sla_bench.reporting.class_results import TrainingClasses

NAMED_CLASSES = 20
_NAME_CHARACTERS = 22


def columns_of(panels: int) -> int:
    """Panels of 3.5 inches side by side."""
    return 1 if panels <= 1 else 2 if panels <= 8 else 3


def size_ticks(axis: Axis, sizes: np.ndarray) -> None:
    """Label powers of ten in full; 2 and 5 times them too where all sizes (n,) lie within two decades."""
    steps = (1.0, 2.0, 5.0) if sizes.max() <= 100 * sizes.min() else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def size_limits(sizes: np.ndarray) -> tuple[float, float]:
    """Lower and upper limit of a logarithmic axis for sizes (n,), with a margin at both ends."""
    margin = (sizes.max() / sizes.min()) ** 0.06 * 1.08
    return float(sizes.min() / margin), float(sizes.max() * margin)


def separate(axes: Axes, borders: Iterable[float]) -> None:
    """Draw the borders between groups, which are places on the horizontal axis."""
    for border in borders:
        axes.axvline(border, color="#BBBBBB", linewidth=0.6, zorder=0.5)


def class_labels(classes: TrainingClasses) -> list[str] | None:
    """Names by rank, long ones cut; None where they cannot be shown: too many, or not one class per rank."""
    names = classes.names_by_rank
    if names is None or len(names) > NAMED_CLASSES:
        return None
    return [n if len(n) <= _NAME_CHARACTERS else n[: _NAME_CHARACTERS - 1] + "…" for n in names]


def label_width(labels: Sequence[str]) -> float:
    """Inches of the longest label."""
    return style.CHARACTER_INCHES * max(map(len, labels))


def side_by_side(places: Sequence[float], texts: Sequence[str], inches: float) -> np.ndarray:
    """Centres of texts, moved inside and apart where they would stick out or touch.

    Args:
        places: (n,) wanted centres, 0..1 of the width.
        texts: (n,).
        inches: the width.
    """
    room = (label_width(texts) + 0.06) / inches
    return style.spread_apart(np.clip(places, room / 2, max(room / 2, 1 - room / 2)).tolist(), room)


def above(axes: Axes, text: str, across: float, lines: float, colour: str = style.GREY) -> None:
    """Write a text centred at a fraction of the width, so many lines above the axes."""
    axes.annotate(
        text,
        (across, 1),
        xycoords="axes fraction",
        xytext=(0, style.POINTS_PER_INCH * (lines * style.LINE_INCHES + 0.04)),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=colour,
    )


def at_left_edge(
    axes: Axes, text: str, left: float, lines: float, colour: str = "black", bold: bool = False
) -> None:
    """Write a text at the left edge of a panel, `left` inches before its axes, so many lines above them."""
    axes.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(
            -style.POINTS_PER_INCH * (left - 0.05),
            style.POINTS_PER_INCH * (lines * style.LINE_INCHES + 0.04),
        ),
        textcoords="offset points",
        va="bottom",
        color=colour,
        fontweight="bold" if bold else "normal",
    )


def caption(figure: Figure, text: str) -> None:
    """Wrapped text at the foot of the page; `caption_height` says how much room it takes."""
    width, height = figure.get_size_inches()
    figure.text(0.05 / width, 0.05 / height, _wrapped(text, width), va="bottom", color=style.GREY)


def caption_height(text: str, width: float) -> float:
    """Inches that the caption takes on a page of that width."""
    return style.LINE_INCHES * (1 + _wrapped(text, width).count("\n")) + 0.08


def _wrapped(text: str, width: float) -> str:
    return style.wrap(text, int((width - 0.1) / style.PROSE_INCHES))
