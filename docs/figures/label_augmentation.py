"""Draw the figure of docs/idea.md: four views of a glyph, joint labels, and the columns of a vote.

`python docs/figures/label_augmentation.py` writes `label_augmentation.png` and `.svg` beside this file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from sla_bench.data.glyph_rendering import EASY, draw_backgrounds, render
from sla_bench.data.glyph_shapes import GLYPH_CLASSES, shapes_of
from sla_bench.tables.figures.style import COLOURS, GREY, new_figure, save, styled

FOLDER = Path(__file__).parent
STEM = "label_augmentation"
VIEWS = 4
CLASSES = ("G", "R", "K")
SHOWN = CLASSES.index("R")
READ, TARGET = COLOURS[5], COLOURS[1]
_SEED = 8
_PICTURES = 1.9
_COLUMNS = VIEWS * len(CLASSES)


def glyph() -> np.ndarray:
    """One image of the class R as the data set draws it, uint8 (32, 32, 3)."""
    (of_class,) = (g for g in GLYPH_CLASSES["train"] if g.character == CLASSES[SHOWN])
    (shapes,) = shapes_of([of_class], folded=False)
    rng = np.random.default_rng(_SEED)
    return render(shapes, 1, EASY, draw_backgrounds(rng), rng)[0]


def draw(folder: Path) -> list[Path]:
    """Write the figure as PNG and SVG and return both paths."""
    with styled():
        figure = new_figure(5.6, 2.2)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-3.4, _PICTURES + _COLUMNS + 0.4), ylim=(-1.65, VIEWS + 1.55), aspect="equal")
        axes.axis("off")
        _views(axes, glyph())
        _joint_logits(axes)
        _vote(axes)
    return save(figure, folder / STEM)


def _views(axes: Axes, image: np.ndarray) -> None:
    axes.text(0.45, VIEWS + 0.15, "views", ha="center", va="bottom", weight="bold")
    for j in range(VIEWS):
        bottom = _bottom(j)
        extent = (0.0, 0.9, bottom + 0.05, bottom + 0.95)
        axes.imshow(np.rot90(image, j), extent=extent, interpolation="nearest", zorder=2)
        name = f"j = {j}, as it is" if j == 0 else f"j = {j}, {90 * j} degrees"
        axes.text(-0.2, bottom + 0.5, name, ha="right", va="center")
        axes.annotate(
            "",
            (_PICTURES - 0.1, bottom + 0.5),
            (1.0, bottom + 0.5),
            arrowprops={"arrowstyle": "->", "color": GREY, "linewidth": 0.6},
        )


def _joint_logits(axes: Axes) -> None:
    axes.text(_PICTURES, VIEWS + 0.75, "one logit for each joint label i M + j", va="bottom", weight="bold")
    for i, name in enumerate(CLASSES):
        left = _PICTURES + i * VIEWS
        centre = left + VIEWS / 2
        axes.text(centre, VIEWS + 0.15, f"class i = {i} ({name})", ha="center", va="bottom")
        for j in range(VIEWS):
            for column in range(VIEWS):
                colour = READ if column == j else "white"
                corner = (left + column, _bottom(j))
                axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor=GREY, linewidth=0.4))
                text = str(i * VIEWS + column)
                axes.text(left + column + 0.5, _bottom(j) + 0.5, text, ha="center", va="center")
        axes.plot([left, left], [0, VIEWS], color="black", linewidth=1.1)
    axes.plot([_PICTURES + _COLUMNS] * 2, [0, VIEWS], color="black", linewidth=1.1)
    for j in range(VIEWS):
        corner = (_PICTURES + SHOWN * VIEWS + j + 0.07, _bottom(j) + 0.07)
        axes.add_patch(Rectangle(corner, 0.86, 0.86, fill=False, edgecolor=TARGET, linewidth=1.6, zorder=3))


def _vote(axes: Axes) -> None:
    for i, name in enumerate(CLASSES):
        centre = _PICTURES + (i + 0.5) * VIEWS
        axes.text(centre, -0.2, f"s({name}) = mean of its blue", ha="center", va="top")
    training = "Orange: the target of each view in training."
    test = "Blue: what SLA+AG reads; SLA+SI reads the blue of row j = 0."
    axes.text(-3.2, -0.95, f"{training} {test}", va="top")


def _bottom(j: int) -> int:
    """Lower edge of the row of view j."""
    return VIEWS - 1 - j


if __name__ == "__main__":
    draw(FOLDER)
