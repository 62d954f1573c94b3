"""The drawer of matrices: rows in % of their sum, as colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from sla_bench.tables.figures import style

MAP = "Blues"


def draw_matrix(
    axes: Axes,
    percent: np.ndarray,
    norm: Normalize,
    ticks: tuple[Sequence[float], Sequence[str]],
    labels: tuple[str, str],
    least: float | None = 0.0,
    upright: bool = False,
    size: float = style.FONT_POINTS,
) -> None:
    """Draw one matrix.

    Args:
        axes: where to.
        percent: (R, C), rows and columns, from 0 to 100.
        norm: per cent -> shade; cells in the darker half have white numbers.
        ticks: places and texts along both axes.
        labels: of the horizontal and the vertical axis; without the latter, rows have no texts.
        least: cells below it have no number; None: no cell has one.
        upright: texts along the horizontal axis are turned by 90 degrees.
        size: of the texts along both axes, in points.
    """
    axes.imshow(percent, cmap=MAP, norm=norm, aspect="auto", interpolation="nearest")
    for row, column in np.argwhere(percent >= least).tolist() if least is not None else ():
        value = percent[row, column]
        colour = "white" if norm(value) > 0.6 else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center_baseline", color=colour)
    for spine in axes.spines.values():
        spine.set_visible(True)
    places, texts = ticks
    axes.set_xticks(places, texts, rotation=90 if upright else 0)
    axes.set_yticks(places, texts if labels[1] else [""] * len(texts))
    axes.tick_params(length=0, labelsize=size)
    axes.set_xlabel(labels[0], labelpad=3)
    axes.set_ylabel(labels[1], labelpad=3)
