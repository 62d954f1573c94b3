"""Rows of measured tables, looked up by what their columns say."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from sla_bench.errors import UserError, unknown

TableRow = dict[str, str]
"""Column -> text, as in the file; empty where there is no value."""


class ResultFiles:
    """The CSV files below a folder, each named by the folder that it is in.

    Args:
        folder: holds `<name>/leaderboard.csv`, or `<name>/speed.csv`; each `<name>` has one CSV file.
        further: files elsewhere, by their names.
    """

    def __init__(self, folder: Path, further: Mapping[str, Path] = MappingProxyType({})) -> None:
        self._folder, self._further = folder, further
        self._read: dict[str, list[TableRow]] = {}

    def rows(self, name: str, **where: str) -> list[TableRow]:
        """All rows of a file whose columns are as asked, at least one.

        Args:
            name: the folder of the file.
            where: column -> text, in which `*` stands for any characters.

        Raises:
            UserError: no such file, no such column, or no such row.
        """
        rows = self._table(name)
        for column in where:
            if rows and column not in rows[0]:
                raise UserError(f"{self._files[name]}: {unknown('column', column, rows[0])}")
        found = [row for row in rows if all(fnmatchcase(row[c], text) for c, text in where.items())]
        if not found:
            raise UserError(f"{self._files[name]} has no row with {_written(where)}")
        return found

    def row(self, name: str, **where: str) -> TableRow:
        """The one row of a file whose columns are as asked.

        Raises:
            UserError: no such file or column; no such row, or several.
        """
        found = self.rows(name, **where)
        if len(found) > 1:
            differ = [c for c in found[0] if c not in where and len({row[c] for row in found}) > 1]
            raise UserError(
                f"{self._files[name]} has {len(found)} rows with {_written(where)}; they differ in "
                f"{', '.join(differ) or 'nothing'}"
            )
        return found[0]

    def value(self, name: str, **where: str) -> float:
        """The figure of the one row of a table of costs (`benchmarks/speed/costs.py`) that is as asked.

        Raises:
            UserError: no such file or column; no such row, or several; no number in it.
        """
        return number(self.row(name, **where), "value")

    @cached_property
    def _files(self) -> dict[str, Path]:
        return {path.parent.name: path for path in sorted(self._folder.glob("*/*.csv"))} | dict(self._further)

    def _table(self, name: str) -> list[TableRow]:
        if name not in self._files:
            raise UserError(f"{self._folder}: {unknown('table', name, self._files)}")
        if name not in self._read:
            with self._files[name].open(encoding="utf-8", newline="") as file:
                self._read[name] = list(csv.DictReader(file))
        return self._read[name]


def number(row: TableRow, column: str) -> float:
    """The value of a column.

    Raises:
        UserError: there is none.
    """
    try:
        return float(row[column])
    except (KeyError, ValueError):
        raise UserError(f"no number in column {column!r} of the row {_written(row)}") from None


def ends(rows: Iterable[TableRow], column: str) -> tuple[TableRow, TableRow]:
    """The rows with the smallest and with the largest value of a column.

    Raises:
        UserError: a row has no value there.
    """
    ordered = sorted(rows, key=lambda row: number(row, column))
    return ordered[0], ordered[-1]


def _written(where: TableRow) -> str:
    return ", ".join(f"{column}={text}" for column, text in where.items() if text or len(where) < 10)
