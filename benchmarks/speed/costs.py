"""Results of a benchmark as a CSV file, read by the pages."""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sla_bench.records.environment import describe
from sla_bench.records.files import write_atomically

COLUMNS = ("setting", "what", "value", "low", "high", "unit", "processor", "load", "date")


class Cost(NamedTuple):
    """One figure.

    Args:
        setting: what it was measured on, such as "resnet32-sla, batch 128".
        what: is measured.
        value: a median or a mean.
        unit: of the value, such as "ms".
        low: of the spread, where there is one.
        high: likewise.
    """

    setting: str
    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `--csv FILE` to the options of a script."""
    parser.add_argument(
        "--csv", type=Path, help="write the figures there; those of other settings in the file stay"
    )


def write_costs(path: Path | None, costs: Iterable[Cost]) -> None:
    """Put figures in the place of those that the file has of the same settings.

    Args:
        path: the file, which need not be there; None: nothing is written.
        costs: with numbers of six digits in the file, and processor, load average and day beside them.

    Raises:
        UserError: the file can't be written.
    """
    if path is None:
        return
    costs = list(costs)
    measured = {cost.setting for cost in costs}
    rows = [row for row in _rows(path) if row["setting"] not in measured]
    about = {
        "processor": describe(1, "cpu")["processor"],
        "load": f"{os.getloadavg()[0]:.2f}",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }
    for cost in costs:
        numbers = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in cost._asdict().items()}
        rows.append({**numbers, **about})
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def _rows(path: Path) -> list[dict[str, str | None]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{column: row[column] for column in COLUMNS} for row in csv.DictReader(file)]
