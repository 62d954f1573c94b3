"""Gain against a number of the setting: shots, or the imbalance ratio."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sla_bench.reporting import style
from sla_bench.reporting.line_panels import LinePanel, line_figure, panels_of, titled_groups
from sla_bench.reporting.reading import SettingAxis
from sla_bench.reporting.row_names import BASELINE
from sla_bench.reporting.table_texts import ALONE, TRAINING

_GAIN = ("relative_gain_pct", "gain_ci95_low", "gain_ci95_high")


def plot_gain_curves(leaderboard: pd.DataFrame, axis: SettingAxis, path_stem: Path | str) -> list[Path]:
    """Write the figure of `gain_curves_figure` as PNG and SVG.

    Args:
        leaderboard: rows of one metric.
        axis: of the scenario.
        path_stem: path without ending.

    Returns:
        The files written; none where no method has a gain at two values of the axis.

    Raises:
        UserError: the files cannot be written; earlier ones are then as they were.
    """
    panels = gain_panels(leaderboard, axis)
    return style.save(gain_curves_figure(panels, axis), path_stem) if panels else []


def gain_panels(leaderboard: pd.DataFrame, axis: SettingAxis) -> list[LinePanel]:
    """Relative gain over the baseline of each method along the axis, a panel per data set and training.

    Where a value of the axis was trained in several ways (few-shot: at several shots), each way of training
    has a panel; otherwise each value stands with the training that belongs to it.

    Args:
        leaderboard: rows of one metric.
        axis: of the scenario.
    """
    rows = leaderboard[(leaderboard["reference"] == BASELINE) & leaderboard[_GAIN[0]].notna()]
    places = [axis.split(setting) for setting in rows["setting"]]
    rows = rows.loc[[found is not None for found in places]]
    rests, numbers = zip(*filter(None, places), strict=True) if len(rows) else ((), ())
    rows = rows.assign(setting=list(rests), place=list(numbers), interval_kind=rows["gain_interval_kind"])
    named, further = ["dataset", "setting", "learner"], [c for c in TRAINING if c != "dataset"]
    panels = []
    for title, part in titled_groups(rows, named, further) if len(rows) else []:
        ways = [(title, part)]
        if part.duplicated(["method", "place"]).any():
            ways = titled_groups(part.assign(title=title), ["title"], ["train_shots"])
        for words, way in ways:
            panels += panels_of(words, way, "place", _GAIN)
    return panels


def gain_curves_figure(panels: list[LinePanel], axis: SettingAxis) -> Figure:
    """Draw the panels of `gain_panels`."""
    alone = any(line.alone.any() for panel in panels for line in panel.lines)
    sentences = [
        "Gain in mean accuracy over the baseline of equal steps, band or whisker: its 95 % interval.",
        "Blue: self-supervised label augmentation.",
        *([ALONE] if alone else []),
    ]
    return line_figure(panels, axis.name, "Relative gain in %", " ".join(sentences), zero=True)
