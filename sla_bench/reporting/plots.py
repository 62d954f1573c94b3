"""Figures of gains and accuracies from the leaderboard, and of learning curves: PNG and SVG.

`*_figure` turn a table into a figure, `plot_*` write it. Nothing here touches pyplot or other global state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sla_bench.errors import UserError
from sla_bench.reporting import style
from sla_bench.reporting.learning_curves import learning_curves_figure
from sla_bench.reporting.panels import (
    Panel,
    draw_zero,
    gain_limits,
    gain_text,
    group_panels,
    padded,
    panel_figure,
)
from sla_bench.reporting.row_names import BASELINE
from sla_bench.reporting.table_texts import ALONE, ONE_SEED

CONTROLS = "the controls"
_KEYS = ["dataset", "setting", "learner"]
_SHARING = {"setting", "learner", "reference", "transform"}
_GAIN = ["relative_gain_pct", "gain_ci95_low", "gain_ci95_high"]
_NEW_CLASSES = ["gain_classes_low", "gain_classes_high"]
_ACCURACY = ["value", "ci95_low", "ci95_high"]


def plot_gains(leaderboard: pd.DataFrame, path_stem: Path | str) -> list[Path]:
    """Write the figure of `gains_figure` as PNG and SVG.

    Args:
        leaderboard: long form, values in %, one row per (method, reference); empty gain where they are one.
        path_stem: path without ending.

    Returns:
        The files written; none where no row has a gain.

    Raises:
        UserError: a column is missing, or the files cannot be written; earlier ones are then as they were.
    """
    gain = ["gain_interval_kind", "gain_seeds", *_GAIN, *_NEW_CLASSES]
    _require(leaderboard, [*_KEYS, "method", "reference", *gain])
    if leaderboard[_GAIN[0]].notna().any():
        return style.save(gains_figure(leaderboard), path_stem)
    return []


def plot_accuracies(leaderboard: pd.DataFrame, path_stem: Path | str) -> list[Path]:
    """Write the figure of `accuracies_figure` as PNG and SVG.

    Args:
        leaderboard: long form, values in %; a method's rows against several references are drawn once.
        path_stem: path without ending.

    Returns:
        The files written; none where no row has a value.

    Raises:
        UserError: a column is missing, or the files cannot be written; earlier ones are then as they were.
    """
    _require(leaderboard, [*_KEYS, "method", "interval_kind", *_ACCURACY])
    if leaderboard[_ACCURACY[0]].notna().any():
        return style.save(accuracies_figure(leaderboard), path_stem)
    return []


def plot_learning_curves(histories: pd.DataFrame, path_stem: Path | str) -> list[Path]:
    """Write the figure of `learning_curves_figure` as PNG and SVG.

    Args:
        histories: one row per recorded step of each run, accuracies as fractions 0..1; columns label,
            learner, method, seed, step, train_accuracy, val_accuracy (NaN where not evaluated) and, if
            known, images (through the backbone so far) and dataset.
        path_stem: path without ending.

    Returns:
        The files written; none where no accuracy was recorded.

    Raises:
        UserError: a column is missing, or the files cannot be written; earlier ones are then as they were.
    """
    _require(histories, ["label", "learner", "method", "seed", "step", "train_accuracy", "val_accuracy"])
    if histories[["train_accuracy", "val_accuracy"]].notna().any(axis=None):
        return style.save(learning_curves_figure(histories), path_stem)
    return []


def gains_figure(leaderboard: pd.DataFrame) -> Figure:
    """Relative gains in % with 95 % intervals: against the baseline, and against the controls.

    One panel each per (dataset, setting, learner).

    Panels that differ in nothing but setting, learner, reference and transformation share one axis. An
    interval that would flatten the others is cut, with an arrow head. So is a row with +TTA, where views that
    were never trained cost most of the accuracy. The figures stand beside it. Rows of one seed
    are light grey. Where there are intervals on other test classes, a thin line shows them.

    Args:
        leaderboard: at least one row with a gain.
    """
    rows = leaderboard[leaderboard[_GAIN[0]].notna()]
    rows = rows.assign(interval_kind=rows["gain_interval_kind"], seeds=rows["gain_seeds"])
    rows = _one_panel_of_controls(rows)
    methods = list(rows["method"].unique())
    panels = group_panels(rows, [*_KEYS, "reference"], _GAIN, methods, _NEW_CLASSES)
    limits = _gain_limits(panels)
    cut = any(
        np.nanmin(panel.values) < low or np.nanmax(panel.values) > high
        for panel, (low, high) in zip(panels, limits, strict=True)
    )
    notes = ["Arrow head: it goes on beyond the axis."] if cut else []
    if any(np.isfinite(panel.wider).any() for panel in panels):
        notes.insert(0, "Thin line: the 95 % interval on other test classes.")
    with style.styled():
        return panel_figure(
            panels,
            limits,
            draw_zero,
            gain_text,
            "Relative gain in %",
            _caption(rows, "Dot: relative gain in mean accuracy, line: its 95 % interval", notes),
        )


def _gain_limits(panels: Sequence[Panel]) -> list[tuple[float, float]]:
    """Of each panel; those that differ in `_SHARING` only have the same."""
    keys = [tuple(v for column, v in panel.key.items() if column not in _SHARING) for panel in panels]
    limits = {}
    for key in dict.fromkeys(keys):
        alike = [panel for panel, own in zip(panels, keys, strict=True) if own == key]
        labels = [label for panel in alike for label in panel.labels]
        values = [panel.values for panel in alike]
        values += [np.column_stack([panel.values[:, 0], panel.wider]) for panel in alike]
        limits[key] = gain_limits(np.concatenate(values), labels + labels)
    return [limits[key] for key in keys]


def _one_panel_of_controls(rows: pd.DataFrame) -> pd.DataFrame:
    """Gains over other references than the baseline share a panel; the method's name says over which."""
    matched = rows["reference"] != BASELINE
    names = rows["method"] + " / " + rows["reference"]
    return rows.assign(
        method=rows["method"].mask(matched, names), reference=rows["reference"].mask(matched, CONTROLS)
    )


def accuracies_figure(leaderboard: pd.DataFrame) -> Figure:
    """Accuracy of each method with its 95 % interval, one panel per (dataset, setting, learner).

    Panels of one setting share their axis. Where the setting names ways, a dashed line is at 100/ways %.

    Args:
        leaderboard: at least one row with a value.
    """
    rows = leaderboard[leaderboard[_ACCURACY[0]].notna()]
    panels = group_panels(rows, _KEYS, _ACCURACY, list(leaderboard["method"].unique()))
    limits = []
    for panel in panels:
        alike = [p.values.ravel() for p in panels if p.key["setting"] == panel.key["setting"]]
        chance = chance_level(panel.key["setting"])
        limits.append(padded(np.concatenate([*alike, [np.nan if chance is None else chance]])))

    def decorate(axes: Axes, panel: Panel) -> None:
        chance = chance_level(panel.key["setting"])
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

    def numbers(value: float, low: float, high: float) -> str:
        return f"{value:.1f}" + ("" if np.isnan(low) else f" [{low:.1f}, {high:.1f}]")

    with style.styled():
        return panel_figure(
            panels,
            limits,
            decorate,
            numbers,
            f"{_metric_name(rows)} in %",
            _caption(rows, "Dot: mean, line: its 95 % interval", []),
            foot=0.65,
        )


def chance_level(setting: str) -> float | None:
    """Accuracy in % of guessing in a setting such as "5-way 1-shot"; None where it names no ways."""
    found = re.search(r"\b([1-9]\d*)-way\b", setting)
    return 100 / int(found[1]) if found else None


def _metric_name(rows: pd.DataFrame) -> str:
    names = rows["metric"].dropna().unique() if "metric" in rows else ["accuracy"]
    return str(names[0]).replace("_", " ").capitalize() if len(names) == 1 else "Value"


def _caption(rows: pd.DataFrame, marks: str, notes: Sequence[str]) -> str:
    alone = rows["interval_kind"] == ONE_SEED
    sentences = [f"{marks}.", "Blue: self-supervised label augmentation.", *notes]
    if "seeds" in rows and not alone.all():
        least, most = int(rows["seeds"][~alone].min()), int(rows["seeds"][~alone].max())
        sentences.append(f"{least} seeds." if least == most else f"{least} to {most} seeds.")
    if "budget" in rows and rows["budget"].nunique() == 1:
        sentences.append(f"Budget: {rows['budget'].dropna().iloc[0]}.")
    if alone.any():
        sentences.append(ALONE)
    return " ".join(sentences)


def _require(table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise UserError(f"the table to plot lacks the columns {', '.join(missing)}")
