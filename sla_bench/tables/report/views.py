"""Results of `analyse` in the report: figures and tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from sla_bench.records.store import RunRecord
from sla_bench.tables.figures.style import png_of
from sla_bench.tables.figures.views import view_figures
from sla_bench.tables.table_texts import Table
from sla_bench.tables.view_results import view_settings
from sla_bench.tables.view_tables import GUIDE, WORDS_OF_VIEWS, view_tables

_TITLES = {
    "view_accuracies": "Accuracy on each view of the test images",
    "view_agreement": "Agreement of the views, and what averaging them gains",
    "view_confusions": "Views and classes that are confused",
}


@dataclass(frozen=True)
class Picture:
    """A figure.

    Args:
        title: what it shows; the tables below it hold the numbers.
        source: of the image, a `data:` address.
        width: in CSS pixels.
    """

    title: str
    source: str
    width: int


@dataclass(frozen=True)
class Views:
    """Pictures, tables and notes on the views of one scenario."""

    pictures: list[Picture]
    tables: list[Table]
    notes: list[str]

    @property
    def words(self) -> frozenset[str]:
        """Headings of the columns without numbers."""
        return WORDS_OF_VIEWS


def views_of(records: Iterable[RunRecord]) -> Views | None:
    """Show the analyses of some records of one scenario; None where there are none."""
    settings = view_settings(records)
    if not settings:
        return None
    pictures = []
    drawn = {stem: figure for stem, figure in view_figures(settings).items() if figure is not None}
    for stem, figure in drawn.items():
        source = "data:image/png;base64," + base64.b64encode(png_of(figure)).decode()
        pictures.append(Picture(_TITLES[stem], source, round(96 * figure.get_figwidth() * _SCALE)))
    tables = [table for setting in settings for table in view_tables(setting)]
    return Views(pictures, tables, [GUIDE])


_SCALE = 1.25
"""Of the print size: seven points are small on a screen."""
