"""Accuracy against images through the backbone, from trainings of several lengths."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sla_bench.reporting import style
from sla_bench.reporting.line_panels import LinePanel, line_figure, panels_of, titled_groups
from sla_bench.reporting.table_texts import ALONE, TRAINING

_ACCURACY = ("value", "ci95_low", "ci95_high")


def plot_budget_curves(leaderboard: pd.DataFrame, length: str, path_stem: Path | str) -> list[Path]:
    """Write the figure of `budget_curves_figure` as PNG and SVG.

    Args:
        leaderboard: rows of accuracy.
        length: field that says how long a training is, as the column `budget` names it.
        path_stem: path without ending.

    Returns:
        The files written; none where no method was trained for two lengths.

    Raises:
        UserError: the files cannot be written; earlier ones are then as they were.
    """
    panels = budget_panels(leaderboard, length)
    return style.save(budget_curves_figure(panels), path_stem) if panels else []


def budget_panels(leaderboard: pd.DataFrame, length: str) -> list[LinePanel]:
    """Accuracy of each method against its training images, a panel per data set, setting and training.

    Trainings whose budgets differ in `length` only ("quick", "quick, steps=250") are points of one line.

    Args:
        leaderboard: rows of accuracy.
        length: as `plot_budget_curves`.
    """
    pattern = re.compile(rf", {re.escape(length)}=[^,]+")
    rows = leaderboard.drop_duplicates(["scenario", *TRAINING, "setting", "learner", "train_shots", "method"])
    rows = rows.assign(recipe=rows["budget"].str.replace(pattern, "", regex=True))
    named = ["dataset", "setting", "learner"]
    further = ["recipe" if c == "budget" else c for c in (*TRAINING, "train_shots") if c != "dataset"]
    panels = []
    for title, part in titled_groups(rows, named, further) if len(rows) else []:
        lengths = part.groupby("method")["budget"].nunique()
        panels += panels_of(title, part[part["method"].map(lengths) > 1], "train_images", _ACCURACY)
    return panels


def budget_curves_figure(panels: list[LinePanel]) -> Figure:
    """Draw the panels of `budget_panels`."""
    alone = any(line.alone.any() for panel in panels for line in panel.lines)
    sentences = [
        "Each point: a training of its own length with its whole schedule. Band or whisker: 95 % interval.",
        "At one place of the axis all methods have sent as many images through the backbone.",
        "Blue: self-supervised label augmentation.",
        *([ALONE] if alone else []),
    ]
    return line_figure(panels, "Training images through the backbone", "Accuracy in %", " ".join(sentences))
