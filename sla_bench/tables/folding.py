"""Rows that are equal by construction become one with both names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.reading import Reading, Row
from sla_bench.tables.row_key import SETTING

_SAME = (*SETTING, "metric", "run_ids")
_VALUES = ("value", "ci95_low", "ci95_high", "ci95_open")


def folded(rows: Iterable[Row]) -> list[Row]:
    """Leave out the rows that repeat another row of their training, and name them in the column `also`.

    A row is left out where its scenario names another row as equal by construction (`Reading.same_rows`)
    and both have the same trainings, values and intervals: only some learners make them equal.

    Args:
        rows: of the leaderboard.

    Returns:
        The others in their order; `also` is there in rows that stand for two.
    """
    rows = list(rows)
    known = {(*_key(row), row["method"]): row for row in rows}
    repeated: dict[tuple[Any, ...], str] = {}
    for key, row in known.items():
        reading: Reading = SCENARIOS.load(row["scenario"], "reading")
        name, space, batch = row["method"].partition(" (batch")
        twin = (*key[:-1], f"{reading.same_rows.get(name)}{space}{batch}")
        if twin in known and _values(known[twin]) == _values(row):
            repeated[twin] = row["method"]
    left_out = {(*twin[:-1], method) for twin, method in repeated.items()}
    kept = []
    for row in rows:
        key = (*_key(row), row["method"])
        if key not in left_out:
            kept.append({**row, "also": repeated[key]} if key in repeated else row)
    return kept


def names_of(row: Row) -> str:
    """The method; of a row that stands for two, as `folded` makes them, both: "SLA+SI = SLA+plain"."""
    return " = ".join(filter(None, (row["method"], row.get("also"))))


def _key(row: Row) -> tuple[str, ...]:
    # As text, since not a number is not equal to itself.
    return tuple(str(row[name]) for name in _SAME)


def _values(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _VALUES)
