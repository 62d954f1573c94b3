"""The texts of a figure, and whether they can be read."""

import numpy as np
from matplotlib.text import Text

from sla_bench.tables.figures import style


def _beyond(figure):
    """Ids of the labels of ticks outside the view, which exist and are not drawn."""
    return {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for minor in (False, True)
        for place, label in zip(axis.get_ticklocs(minor=minor), axis.get_ticklabels(minor=minor), strict=True)
        if not min(axis.get_view_interval()) <= place <= max(axis.get_view_interval())
    }


def assert_readable(figure):
    """Each text has at least 7 points, is inside the figure, and covers no other."""
    with style.styled():
        figure.canvas.draw()
        beyond = _beyond(figure)
        shown = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible() and id(t) not in beyond]
        boxes = [t.get_window_extent() for t in shown]
    inside = figure.bbox.padded(0.5)
    for text, box in zip(shown, boxes, strict=True):
        assert text.get_fontsize() >= 7
        assert inside.contains(box.x0, box.y0), text
        assert inside.contains(box.x1, box.y1), text
    low, high = np.array([box.extents for box in boxes]).reshape(-1, 2, 2).transpose(1, 0, 2)
    across = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    clash = np.argwhere(np.triu((across > 0.5).all(axis=2), k=1))
    assert [(shown[a].get_text(), shown[b].get_text()) for a, b in clash] == []


def words(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def caption(figure):
    return figure.texts[-1].get_text().replace("\n", " ")
