"""A page of equal panels of 3.5 inches: titles above, room at their right, a caption below."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sla_bench.reporting import class_axes, style

_LEFT, _TICKS, _GAP = 0.5, 0.36, 0.06


def width_of(axes: Axes) -> float:
    """Width of an axes in inches."""
    return float(axes.bbox.width / axes.figure.dpi)


def panel_grid(
    titles: Sequence[str],
    right: float,
    plot: float,
    labels: tuple[str, str],
    caption: str,
    foot: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """Lay out panels in one to three columns; call it inside `style.styled()`.

    Args:
        titles: one per panel.
        right: inches that each panel keeps free at its right.
        plot: height of the axes in inches.
        labels: of the horizontal and the vertical axes; the latter stands at the first column only.
        caption: text below the panels.
        foot: inches that tick labels below the axes take beyond one line.

    Returns:
        The figure, and the axes of each panel.
    """
    columns = class_axes.columns_of(len(titles))
    width = columns * style.COLUMN_INCHES
    wrapped = [style.wrap(title, int(style.COLUMN_INCHES / style.BOLD_INCHES)) for title in titles]
    top = 0.08 + style.LINE_INCHES * (1 + max(title.count("\n") for title in wrapped))
    height = top + plot + _TICKS + foot + _GAP
    total = -(-len(titles) // columns) * height + class_axes.caption_height(caption, width)
    figure = style.new_figure(width, total)
    panels = []
    for place, title in enumerate(wrapped):
        line, column = divmod(place, columns)
        axes = figure.add_axes(
            (
                (column * style.COLUMN_INCHES + _LEFT) / width,
                (total - line * height - top - plot) / total,
                (style.COLUMN_INCHES - _LEFT - right) / width,
                plot / total,
            )
        )
        class_axes.at_left_edge(axes, title, _LEFT, lines=0, bold=True)
        axes.set_xlabel(labels[0], labelpad=2)
        if column == 0:
            axes.set_ylabel(labels[1], labelpad=2)
        axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
        axes.set_axisbelow(True)
        panels.append(axes)
    class_axes.caption(figure, caption)
    return figure, panels
