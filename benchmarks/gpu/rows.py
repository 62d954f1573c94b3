"""Rows of the check, in a file that grows."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One result.

    Args:
        part: "agreement", "speed" or "cell".
        name: of the training or the setting.
        quantity: that was measured.
        value: NaN where it could not be.
        limit: the largest value that counts as agreement; NaN where there is none.
        seconds: of preparation, such as compilation; NaN where there is none.
        note: in words.
    """

    part: str
    name: str
    quantity: str
    value: float = math.nan
    limit: float = math.nan
    seconds: float = math.nan
    note: str = ""

    @property
    def fails(self) -> bool:
        """The value is out of its tolerance, or missing where there is one."""
        return not math.isnan(self.limit) and not self.value <= self.limit

    def words(self) -> str:
        """The row in one line."""
        found = f"{self.part}, {self.name}: {self.quantity} {self.value:.4g}"
        if not math.isnan(self.limit):
            found += f" ({'TOO LARGE, ' if self.fails else ''}at most {self.limit:g})"
        if not math.isnan(self.seconds):
            found += f", after {self.seconds:.1f} s of preparation"
        return f"{found}; {self.note}" if self.note else found


class Rows:
    """The rows in a CSV file; a row that is given again replaces the older one.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, str, str], Row] = {}
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                for line in csv.DictReader(file):
                    numbers = {name: float(line[name] or "nan") for name in ("value", "limit", "seconds")}
                    words = {name: line[name] for name in ("part", "name", "quantity", "note")}
                    self._put(Row(**words, **numbers))

    def _put(self, row: Row) -> None:
        self._rows[row.part, row.name, row.quantity] = row

    def all(self) -> list[Row]:
        """All rows, in the order in which they came."""
        return list(self._rows.values())

    def has(self, part: str, name: str) -> bool:
        """Whether something was measured there; a setting without a value is tried again."""
        return any((row.part, row.name) == (part, name) and not math.isnan(row.value) for row in self.all())

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows and write the file."""
        for row in rows:
            self._put(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in self.all())
