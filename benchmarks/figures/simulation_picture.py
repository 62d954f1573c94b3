"""The picture of what `benchmarks/simulated_errors.py` counted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from sla_bench.tables.figures import style

_WIDTH, _HEIGHT = 7.0, 2.3
_PANELS = (
    ("family-wise error", "m=56", "Tables of 56 contrasts with an error after Holm, %", (0.0, 6.0)),
    ("p below its level", "0.001", "Single p below 0.001, %", (0.0, 0.1)),
    (
        "coverage on other classes",
        "20 classes",
        "Intervals that hold the gain on other classes, %",
        (93.0, 98.0),
    ),
)


def picture(table: pd.DataFrame) -> Figure:
    """Draw shares against the ratio of seed to test variance, one line per number of seeds, limits in grey.

    Args:
        table: of `simulated_errors.py`.
    """
    with style.styled():
        figure = style.new_figure(_WIDTH, _HEIGHT)
        for place, panel in enumerate(_PANELS):
            axes = figure.add_axes(((0.05 + place * 0.33), 0.18, 0.26, 0.66))
            _draw(axes, table, *panel)
    return figure


def _draw(
    axes: Axes, table: pd.DataFrame, quantity: str, case: str, title: str, limits: tuple[float, float]
) -> None:
    rows = table[(table["quantity"] == quantity) & (table["case"] == case)]
    axes.axhspan(*limits, color="#EEEEEE", zorder=0)
    axes.set_xscale("log")
    for colour, (seeds, part) in zip(style.COLOURS, rows.groupby("seeds"), strict=False):
        ordered = part.sort_values("ratio")
        axes.plot(
            ordered["ratio"], 100 * ordered["share"], "o-", color=colour, markersize=3, label=f"{seeds} seeds"
        )
    axes.xaxis.set_major_locator(FixedLocator(sorted(rows["ratio"].unique())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")
    axes.set_xlabel("Seeds' part of the variance / the test's")
    axes.set_title(style.wrap(title, 34))
    axes.legend(frameon=False, handlelength=1.2)


def write(table: pd.DataFrame, stem: Path) -> list[Path]:
    """Write the picture as PNG and SVG; returns the files."""
    return style.save(picture(table), stem)
