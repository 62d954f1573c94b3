"""A page of panels, laid out by matplotlib: titles above, caption below."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from sla_bench.tables.figures import style

_PAD, _EDGE, _LEAST_AXIS = 0.05, 0.05, 0.9
_AT_THE_EDGE = "at the left edge"


@contextmanager
def page(
    heights: Sequence[float],
    caption: str,
    columns: int | None = None,
    places: Sequence[tuple[int, int]] | None = None,
    widths: Sequence[float] | None = None,
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give axes to draw on, and lay them out behind the block, in columns of 3.5 inches.

    Columns are wider where long words leave no room for an axis.

    Args:
        heights: of each panel's axes in inches; whatever stands around them makes the figure taller.
        caption: text below the panels; none where it is empty.
        columns: how many; None: one to three, as the number of panels asks for.
        places: line and column of each panel; None: one after the other.
        widths: of each column's axes in inches; None: as wide as the column leaves them.
    """
    columns = columns or (1 if len(heights) <= 1 else 2 if len(heights) <= 8 else 3)
    places = places or [divmod(number, columns) for number in range(len(heights))]
    lines = 1 + max(line for line, _ in places)
    inner = [max(h for h, (n, _) in zip(heights, places, strict=True) if n == line) for line in range(lines)]
    with style.styled():
        # The first layout is on a page that is large enough; it tells how much of it is not axes.
        width = columns * style.COLUMN_INCHES if widths is None else sum(widths) + 2 * columns
        figure = style.new_figure(width, sum(inner) + 4 * lines + 2)
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD, wspace=0, hspace=0))
        grid = figure.add_gridspec(lines, columns, height_ratios=inner, width_ratios=widths)
        panels = [figure.add_subplot(grid[place]) for place in places]
        yield figure, panels
        least = _laid_out(figure, panels)[:, 0].min()
        if widths is None:
            width += columns * max(0.0, _LEAST_AXIS - least)
        else:
            width += sum(widths) * (1 - least / min(widths))
        if caption:
            text = style.wrap(caption, int((width - 2 * _EDGE) / style.PROSE_INCHES))
            foot = figure.supxlabel(text, x=_EDGE / width, ha="left", fontsize=style.FONT_POINTS)
            foot.set_color(style.GREY)
        figure.set_size_inches(width, figure.get_figheight())
        found = _laid_out(figure, panels)[:, 1]
        tops = [found[[n == line for n, _ in places]].max() for line in range(lines)]
        figure.set_size_inches(round(width, 4), round(figure.get_figheight() + sum(inner) - sum(tops), 4))
        _laid_out(figure, panels)
        figure.set_layout_engine("none")
        for axes, height in zip(panels, heights, strict=True):
            box = axes.get_position()
            own = height / figure.get_figheight()
            # The solver's last digits depend on figures that it laid out before.
            axes.set_position(np.round((box.x0, box.y1 - own, box.width, own), 6).tolist())
        _to_the_edge(figure, panels, places, columns)


def seeds_note(counts: Collection[int], several: str, alone: str = "One seed") -> list[str]:
    """Sentences of a caption on the numbers of seeds of its panels.

    Args:
        counts: of each panel.
        several: what is said of several seeds, with a place for their number.
        alone: the first words on panels of one seed.
    """
    least, most = min(counts), max(counts)
    found = []
    if most > 1:
        found.append(several.format(most if least == most else f"{least} to {most}"))
    if least == 1:
        found.append(f"{alone}: one trained model per method; seed variation is not in it.")
    return found


def head(axes: Axes, title: str, below: str = "", free: int = 0, width: float = style.COLUMN_INCHES) -> None:
    """Write a title in bold at the left edge of a panel.

    Args:
        axes: of the panel.
        title: wrapped at the width; may be empty where a neighbour has a title.
        below: a second line, in normal weight.
        free: lines that stay free between title and axes, for `above`.
        width: of the panel in inches.
    """
    wrapped = style.wrap(title, int((width - _EDGE) / style.BOLD_INCHES))
    lines = free + bool(below)
    words = axes.set_title(wrapped, loc="left", pad=_points(lines) + 1)
    # The layout wants room for the middle of a title, which here moves to the left edge afterwards.
    words.set(gid=_AT_THE_EDGE, x=0.5, ha="center")
    if below:
        above(axes, below, 0, free, "black", ha="left").set_gid(_AT_THE_EDGE)


def above(
    axes: Axes, text: str, across: float, line: float, colour: str = style.GREY, ha: str = "center"
) -> Text:
    """Write a text at a fraction of the width, so many lines above the axes.

    `head` makes the room above; a text that ends at the left of the axes makes its own beside them.
    """
    beside = ha == "right" and not across
    return axes.annotate(
        text,
        (across, 1),
        xycoords="axes fraction",
        xytext=(-4 if beside else 0, _points(line)),
        textcoords="offset points",
        ha=ha,
        va="bottom",
        color=colour,
        in_layout=beside,
    )


def spread_texts(places: Sequence[float], texts: Sequence[str], inches: float) -> np.ndarray:
    """Centres of texts, moved inside and apart where they would stick out or touch.

    Args:
        places: (n,) wanted centres, 0..1 of the width.
        texts: (n,).
        inches: the width.
    """
    room = (style.CHARACTER_INCHES * max(map(len, texts)) + 0.06) / inches
    apart = style.spread_apart(np.clip(places, room / 2, max(room / 2, 1 - room / 2)).tolist(), room)
    inside: np.ndarray = apart + max(0.0, room / 2 - apart.min())
    return inside


def _points(lines: float) -> float:
    """Above the axes, to the foot of a line."""
    return 3 + lines * (style.LINE_INCHES + 0.005) * style.POINTS_PER_INCH


def _laid_out(figure: Figure, panels: Sequence[Axes]) -> np.ndarray:
    """Lay out; (n, 2) width and height of each axes in inches."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    sizes: np.ndarray = np.array([axes.get_position().size for axes in panels]) * figure.get_size_inches()
    return sizes


def _to_the_edge(
    figure: Figure, panels: Sequence[Axes], places: Sequence[tuple[int, int]], columns: int
) -> None:
    """Move what `head` has written to where a column of panels begins."""
    figure.draw_without_rendering()
    for column in range(columns):
        own = [axes for axes, place in zip(panels, places, strict=True) if place[1] == column]
        boxes = [axes.get_tightbbox(for_layout_only=True) for axes in own]
        edge = min((box.x0 for box in boxes if box is not None), default=0.0)
        for axes in own:
            for text in axes.findobj(lambda artist: artist.get_gid() == _AT_THE_EDGE):
                assert isinstance(text, Text)
                shift = edge - axes.bbox.x0
                if text in axes.texts:
                    text.set_x(shift * style.POINTS_PER_INCH / figure.dpi)
                else:
                    text.set(x=shift / axes.bbox.width, ha="left")
