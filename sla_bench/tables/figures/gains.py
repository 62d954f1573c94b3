"""Figures of relative gains and of accuracies, method by method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sla_bench.tables.figures import style
from sla_bench.tables.figures.dots import DotPanel, dots_figure, draw_zero, gain_text
from sla_bench.tables.figures.grouping import dot_panels
from sla_bench.tables.figures.style import gain_limits, padded
from sla_bench.tables.row_key import BASELINE
from sla_bench.tables.table_texts import ALONE, ONE_SEED

_KEYS = ["dataset", "setting", "learner"]
_SHARING = {"setting", "learner", "reference", "transform"}
_GAIN = ["relative_gain_pct", "gain_ci95_low", "gain_ci95_high"]
_NEW_CLASSES = ["gain_classes_low", "gain_classes_high"]
_ACCURACY = ["value", "ci95_low", "ci95_high"]


def gains_figure(leaderboard: pd.DataFrame) -> Figure | None:
    """Relative gains in % with 95 % intervals: against the baseline, and against the controls.

    One panel each per (dataset, setting, learner).

    Panels that differ in nothing but setting, learner, reference and transformation share one axis. An
    interval that would flatten the others is cut, with an arrow head. So is a row with +TTA, where views that
    were never trained cost most of the accuracy. The figures stand beside it. Rows of one seed
    are light grey. Where there are intervals on other test classes, a thin line shows them.

    Args:
        leaderboard: long form, values in %, one row per (method, reference).

    Returns:
        The figure; None where no row has a gain.
    """
    rows = leaderboard[leaderboard[_GAIN[0]].notna()]
    if rows.empty:
        return None
    rows = rows.assign(interval_kind=rows["gain_interval_kind"], seeds=rows["gain_seeds"])
    # Gains over other references than the baseline share a panel; the method's name says over which.
    matched = rows["reference"] != BASELINE
    names = rows["method"] + " / " + rows["reference"]
    rows = rows.assign(
        method=rows["method"].mask(matched, names), reference=rows["reference"].mask(matched, "the controls")
    )
    panels = _on_shared_axes(dot_panels(rows, [*_KEYS, "reference"], _GAIN, _NEW_CLASSES))
    notes = []
    if any(np.isfinite(panel.wider).any() for panel in panels):
        notes.append("Thin line: the 95 % interval on other test classes.")
    if any(np.nanmin(p.values) < p.limits[0] or np.nanmax(p.values) > p.limits[1] for p in panels):
        notes.append("Arrow head: the interval continues beyond the axis.")
    caption = _caption(rows, "Dot: relative gain in mean accuracy, line: its 95 % interval", notes)
    return dots_figure(panels, "Relative gain in %", caption, gain_text, draw_zero)


def _on_shared_axes(panels: Sequence[DotPanel]) -> list[DotPanel]:
    """Give the same limits to panels that differ in `_SHARING` only."""
    keys = [tuple(v for column, v in panel.key.items() if column not in _SHARING) for panel in panels]
    limits = {}
    for key in dict.fromkeys(keys):
        alike = [panel for panel, own in zip(panels, keys, strict=True) if own == key]
        averaged = np.concatenate([panel.averaged for panel in alike] * 2)
        values = [panel.values for panel in alike]
        values += [np.column_stack([panel.values[:, 0], panel.wider]) for panel in alike]
        limits[key] = gain_limits(np.concatenate(values), averaged)
    return [replace(panel, limits=limits[key]) for panel, key in zip(panels, keys, strict=True)]


def accuracies_figure(leaderboard: pd.DataFrame) -> Figure | None:
    """Accuracy of each method with its 95 % interval, one panel per (dataset, setting, learner).

    Panels of one setting share their axis. Where the setting names ways, a dashed line is at 100/ways %.

    Args:
        leaderboard: long form, values in %; a method's rows against several references are drawn once.

    Returns:
        The figure; None where no row has a value.
    """
    rows = leaderboard[leaderboard[_ACCURACY[0]].notna()]
    if rows.empty:
        return None
    panels = []
    found = dot_panels(rows, _KEYS, _ACCURACY)
    for panel in found:
        alike = [p.values.ravel() for p in found if p.key["setting"] == panel.key["setting"]]
        chance = _chance_level(panel)
        limits = padded(np.concatenate([*alike, [np.nan if chance is None else chance]]))
        panels.append(replace(panel, limits=limits))

    def numbers(value: float, low: float, high: float) -> str:
        return f"{value:.1f}" + ("" if np.isnan(low) else f" [{low:.1f}, {high:.1f}]")

    caption = _caption(rows, "Dot: mean, line: its 95 % interval", [])
    return dots_figure(panels, "Accuracy in %", caption, numbers, _draw_chance, foot=0.65)


def _chance_level(panel: DotPanel) -> float | None:
    """Accuracy in % of guessing; None where the setting has no ways."""
    return 100 / panel.ways if panel.ways else None


def _draw_chance(axes: Axes, panel: DotPanel) -> None:
    chance = _chance_level(panel)
    if chance is None:
        return
    axes.axvline(chance, color=style.GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    axes.annotate(
        "chance",
        (chance, 0),
        xycoords=("data", "axes fraction"),
        xytext=(2, 2),
        textcoords="offset points",
        color=style.GREY,
    )


def _caption(rows: pd.DataFrame, marks: str, notes: Sequence[str]) -> str:
    alone = rows["interval_kind"] == ONE_SEED
    sentences = [f"{marks}.", "Blue: self-supervised label augmentation.", *notes]
    if not alone.all():
        least, most = int(rows["seeds"][~alone].min()), int(rows["seeds"][~alone].max())
        sentences.append(f"{least} seeds." if least == most else f"{least} to {most} seeds.")
    if rows["budget"].nunique() == 1:
        sentences.append(f"Budget: {rows['budget'].iloc[0]}.")
    if alone.any():
        sentences.append(ALONE)
    return " ".join(sentences)
