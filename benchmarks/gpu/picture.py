"""Images per second as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.gpu.rows import Row


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw a bar for each setting, the fastest first; a setting without a value has its note.

    Args:
        rows: of the check.
        path: of the PNG file.
    """
    speeds = sorted(
        (row for row in rows if row.part == "speed"),
        key=lambda row: -1.0 if math.isnan(row.value) else row.value,
    )
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(speeds)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    values = [0.0 if math.isnan(row.value) else row.value for row in speeds]
    axes.barh([row.name for row in speeds], values, color="#4477aa")
    for place, row in enumerate(speeds):
        text = row.note if math.isnan(row.value) else f"{row.value:,.0f}"
        axes.text(values[place], place, f" {text}", va="center", fontsize=8)
    axes.set_xlabel("images per second, all processes together")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.savefig(path, dpi=150)
