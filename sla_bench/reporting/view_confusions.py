"""Which transformation a view is taken for, and which classes are confused with a turn of another class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sla_bench.reporting import class_axes, style
from sla_bench.reporting.view_results import HeadViews, ViewSetting
from sla_bench.reporting.view_tables import MOST_PAIRS
from sla_bench.view_metrics import ConfusedPair, confused_pairs, view_confusion

_WIDTH = 2 * style.COLUMN_INCHES
_SIDE, _BAR, _TICKS, _GAP, _RIGHT_EDGE = 1.5, 0.17, 0.36, 0.25, 0.3
NUMBERED_VIEWS = 6
"""Names of more views are written upwards and in a smaller font."""
SMALL_FONT = 0.6
_DARK = 55
_NAME_CHARACTERS = 18
_RECOGNISED, _MISTAKEN = "#AAAAAA", style.COLOURS[1]


@dataclass(frozen=True)
class _Line:
    """What stands side by side: the views of a head, and the classes of a joint one. Sizes are in inches."""

    setting: ViewSetting
    head: HeadViews
    pairs: list[ConfusedPair]

    @property
    def title(self) -> str:
        return style.wrap(f"{self.setting.title}: {self.head.name}", int(_WIDTH / style.BOLD_INCHES))

    @property
    def top(self) -> float:
        return 0.1 + style.LINE_INCHES * (2 + self.title.count("\n"))

    @property
    def height(self) -> float:
        return max(_SIDE, _BAR * len(self.pairs))

    @property
    def foot(self) -> float:
        return _TICKS + (0 if self.is_numbered else self.names)

    @property
    def names(self) -> float:
        return self.font * class_axes.label_width(self.setting.view_names)

    @property
    def font(self) -> float:
        return 1 if self.is_numbered else SMALL_FONT

    @property
    def is_numbered(self) -> bool:
        return len(self.setting.view_names) <= NUMBERED_VIEWS


def view_confusions_figure(settings: Sequence[ViewSetting]) -> Figure | None:
    """Confusions of views in % of the true view, and the pairs of classes that are confused most.

    One line per head that tells the view. The bar of a pair has two parts: views whose transformation was
    recognised, and views whose transformation was mistaken too, that is, the class looks like the other one
    turned.

    Args:
        settings: any number.

    Returns:
        The figure; None where no head tells the view.
    """
    lines = [
        _line(setting, head) for setting in settings for head in setting.heads if head.recognised is not None
    ]
    if not lines:
        return None
    caption = _caption(lines)
    heights = sum(line.top + line.height + line.foot for line in lines)
    total = heights + class_axes.caption_height(caption, _WIDTH)
    with style.styled():
        figure = style.new_figure(_WIDTH, total)
        top = total
        for line in lines:
            top -= line.top
            _draw(figure, line, top)
            top -= line.height + line.foot
        class_axes.caption(figure, caption)
    return figure


def _line(setting: ViewSetting, head: HeadViews) -> _Line:
    pairs = []
    if head.joint is not None:
        pairs = confused_pairs(head.joint, head.labels, setting.view_turns, MOST_PAIRS)
    return _Line(setting, head, pairs)


def _draw(figure: Figure, line: _Line, top: float) -> None:
    """Draw both parts of a line below the height `top` of the page in inches."""
    total = figure.get_figheight()

    def axes_at(left: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / _WIDTH, (top - height) / total, width / _WIDTH, height / total))

    left = _RIGHT_EDGE + line.names
    views = axes_at(left, _SIDE, _SIDE)
    class_axes.at_left_edge(views, line.title, left, lines=1, bold=True)
    _draw_views(views, line)
    if line.pairs:
        labels = [_pair_label(line.setting, pair) for pair in line.pairs]
        start = left + _SIDE + _GAP + class_axes.label_width(labels)
        _draw_pairs(axes_at(start, _WIDTH - _RIGHT_EDGE - start, _BAR * len(line.pairs)), line, labels)


def _pair_label(setting: ViewSetting, pair: ConfusedPair) -> str:
    true, predicted = (_short(setting.class_names[c]) for c in (pair.true, pair.predicted))
    turned = f", {90 * pair.turn}°" if setting.turns and pair.turn else ""
    return f"{true} \N{RIGHTWARDS ARROW} {predicted}{turned}"


def _short(name: str) -> str:
    # Names of folders in folders begin alike.
    return name if len(name) <= _NAME_CHARACTERS else "…" + name[1 - _NAME_CHARACTERS :]


def _draw_views(axes: Axes, line: _Line) -> None:
    assert line.head.recognised is not None
    percent = 100 * view_confusion(line.head.recognised)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    numbered = line.is_numbered
    for row, column in np.ndindex(percent.shape) if numbered else ():
        value = percent[row, column]
        colour = "white" if value > _DARK else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center_baseline", color=colour)
    for spine in axes.spines.values():
        spine.set_visible(True)
    ticks = range(len(percent))
    axes.set_xticks(ticks, line.setting.view_names, rotation=0 if numbered else 90)
    axes.set_yticks(ticks, line.setting.view_names)
    axes.tick_params(length=0, labelsize=style.FONT_POINTS * line.font)
    axes.set_xlabel("Taken for", labelpad=2)
    axes.set_ylabel("View", labelpad=2)
    axes.set_title(f"View: {100 * line.head.recognised_share:.1f} % recognised", fontweight="normal", pad=3)


def _draw_pairs(axes: Axes, line: _Line, labels: Sequence[str]) -> None:
    share = 100 * np.array([pair.share for pair in line.pairs])
    mistaken = 100 * np.array([pair.mistaken for pair in line.pairs])
    places = np.arange(len(share))
    axes.barh(places, share - mistaken, height=0.7, color=_RECOGNISED)
    axes.barh(places, mistaken, left=share - mistaken, height=0.7, color=_MISTAKEN)
    axes.set_ylim(len(share) - 0.5, -0.5)
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Views of the class in %", labelpad=2)
    for words, colour, align, across in (
        ("transformation recognised", style.GREY, "left", 0.0),
        ("mistaken", _MISTAKEN, "right", 1.0),
    ):
        axes.annotate(
            words,
            (across, 1),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            ha=align,
            va="bottom",
            color=colour,
        )


def _caption(lines: Sequence[_Line]) -> str:
    sentences = ["Left: share of the views (rows) that are taken for each view, in %."]
    if any(line.pairs for line in lines):
        sentences.append(
            "Right: views of a class that a joint head reads as another class; in orange, those whose "
            "transformation is mistaken as well."
        )
    if any(line.pairs and line.setting.turns for line in lines):
        sentences.append(
            "Degrees: by how much the class most often looks turned, counter-clockwise; none: upright."
        )
    seeds = {line.head.seeds for line in lines}
    if max(seeds) > 1:
        sentences.append(f"Over {' to '.join(map(str, sorted({min(seeds), max(seeds)})))} seeds.")
    if min(seeds) == 1:
        sentences.append("One seed: one trained model per method; seed variation is not in it.")
    return " ".join(sentences)
