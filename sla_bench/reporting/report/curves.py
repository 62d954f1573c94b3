"""The learning curve of a recorded training, small enough for a page."""

from __future__ import annotations

import csv
import math
from typing import Any

from sla_bench.harness.store import RunRecord

QUANTITIES = {
    "val_accuracy": "Validation accuracy in %",
    "train_accuracy": "Accuracy on the training task in %",
}
_MOST_POINTS = 100


def curve_of(record: RunRecord) -> dict[str, list[list[float]]]:
    """Return quantity -> points (images through the backbone, accuracy in %).

    Of an ensemble it is the first member's. Points that were not measured are left out, and so is a quantity
    without any; of many points, every n-th and the last are kept. A history that can't be read gives
    no curve.
    """
    try:
        with (record.folder / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        members = {row["member"] for row in rows}
        rows = [row for row in rows if row["member"] == rows[0]["member"]]
        images = record.done["train_images"] / len(members) / float(rows[-1]["step"])
        curves = {q: _points(rows, q, images) for q in QUANTITIES}
    except (OSError, ValueError, KeyError, IndexError, TypeError, ZeroDivisionError, csv.Error):
        return {}
    return {quantity: points for quantity, points in curves.items() if points}


def _points(rows: list[dict[str, Any]], quantity: str, images_per_step: float) -> list[list[float]]:
    known = [
        [round(float(row["step"]) * images_per_step), round(100 * float(row[quantity]), 2)]
        for row in rows
        if row.get(quantity) and math.isfinite(float(row[quantity]))
    ]
    every = math.ceil(len(known) / _MOST_POINTS) or 1
    return known[:-1:every] + known[-1:]
