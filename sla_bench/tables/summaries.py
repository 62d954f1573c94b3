"""Sentences below a table: primary contrast, and gains over all cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sla_bench.evaluation.verdicts import interquartile_mean, share_of_losses
from sla_bench.scenarios.reading import Row
from sla_bench.tables.row_key import TRAINING
from sla_bench.tables.table_texts import (
    accuracies_of,
    alike,
    is_missing,
    training_words,
    verdict_text,
)
from sla_bench.words import one_line

_CELL = ["dataset", "setting", "learner", "train_shots"]


def below(block: Sequence[Row]) -> list[str]:
    """All sentences of one block of the leaderboard."""
    return [*primary_contrasts(block), *gains_over_cells(block)]


def primary_contrasts(block: Sequence[Row]) -> list[str]:
    """Name the scenario's primary contrast with its gain, interval and p, for each row that shows it."""
    found = []
    for row in block:
        if row["contrast"] != "primary":
            continue
        sure = "one seed, no interval" if row["gain_seeds"] == 1 else f"{row['gain_seeds']:.0f} seeds"
        if not is_missing(row["p_value"]):
            low, high = row["gain_ci95_low"], row["gain_ci95_high"]
            sure = f"{low:+z.1f} to {high:+z.1f}; {sure}, p {row['p_value']:.2g}"
        if not is_missing(row["gain_classes_low"]):
            low, high = row["gain_classes_low"], row["gain_classes_high"]
            sure += f"; on other test classes {low:+z.1f} to {high:+z.1f}"
        found.append(
            f"Primary contrast: {row['setting']}, {row['learner']}, {row['method']} against "
            f"{row['reference']}: {row['relative_gain_pct']:+z.1f} % ({sure})."
            + (f" Verdict: {verdict}." if (verdict := verdict_text(row)) else "")
        )
    return found


def gains_over_cells(rows: Iterable[Row]) -> list[str]:
    """Summarise the gains of each row of label augmentation against each reference over several cells.

    Gains of one seed are left out.

    Args:
        rows: of the leaderboard; a cell is a data set, setting and learner.

    Returns:
        One sentence per method and reference that have a gain in at least two cells.
    """
    contrasts: dict[tuple[str, str], list[Row]] = {}
    for row in accuracies_of(rows):
        known = not is_missing(row["relative_gain_pct"]) and row["gain_seeds"] > 1
        if known and row["is_sla"]:
            contrasts.setdefault((row["method"], row["reference"]), []).append(row)
    found = []
    for (method, reference), part in contrasts.items():
        # Not a number, which stands where nothing was trained in shots, is not equal to itself.
        if len({tuple(str(row[name]) for name in _CELL) for row in part}) < 2:
            continue
        values = np.array([row["relative_gain_pct"] for row in part], dtype=float)
        losses = round(share_of_losses(values) * len(values))
        found.append(
            f"{method} against {reference}: interquartile mean of the gains "
            f"{interquartile_mean(values):+z.1f} %, median {np.median(values):+z.1f} %; SLA loses in "
            f"{losses} of {len(values)} cells ({100 * losses / len(values):.0f} %)."
        )
    return found


def over_datasets(rows: Iterable[Row]) -> list[tuple[str, list[str]]]:
    """Summaries over all data sets that were trained alike: title, and sentences as `gains_over_cells`."""
    found = []
    for part in alike(rows, (name for name in TRAINING if name != "dataset")):
        names = [one_line(name) for name in dict.fromkeys(row["dataset"] for row in part)]
        if len(names) > 1 and (sentences := gains_over_cells(part)):
            found.append((f"{', '.join(names)}, {training_words(part[0])}", sentences))
    return found
