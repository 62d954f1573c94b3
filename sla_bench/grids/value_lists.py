"""Several values written as one text: `0,1,2`, `0..4`, `baseline,sla`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MOST_VALUES = 10_000
"""Of one range."""
_RANGE = re.compile(r"(\d+)(?:\.\.|-)(\d+)")
_NUMBERS = re.compile(r"[\s,]+")


def written_out(kind: type, values: Iterable[Any]) -> list[Any]:
    """Write lists and ranges out; anything else stays as it is, for whoever checks types.

    Numbers may be joined by commas or blanks, whole numbers also be a range, both ends in it. Names may be
    joined by commas; one that holds a path is left alone.

    Args:
        kind: int, float or str, the type of one value.
        values: texts as they were typed, among values that are none.

    Raises:
        ValueError: a range that falls, or spans more than 10,000 values.

    >>> written_out(int, ["0..3", "7,9", 5])
    [0, 1, 2, 3, '7', '9', 5]
    >>> written_out(str, ["baseline,sla", "folder:a,b"])
    ['baseline', 'sla', 'folder:a,b']
    """
    return [one for value in values for one in _parts(kind, value)]


def _parts(kind: type, value: Any) -> list[Any]:
    if not isinstance(value, str):
        return [value]
    if kind is str:
        return [value] if ":" in value or "/" in value else _joined(value.split(","), value)
    parts = _joined(_NUMBERS.split(value.strip()), value)
    return [one for part in parts for one in (_range(part) if kind is int else [part])]


def _joined(parts: list[str], value: str) -> list[str]:
    """The parts, unless one is missing: then the text is a mistake, which is shown as it was written."""
    parts = [part.strip() for part in parts]
    return parts if all(parts) else [value]


def _range(text: str) -> list[Any]:
    match = _RANGE.fullmatch(text)
    if match is None:
        return [text]
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < MOST_VALUES:
        raise ValueError(
            f"{text!r} is not a range: write FIRST..LAST, at most {MOST_VALUES:,} values, as 0..4"
        )
    return list(range(first, last + 1))
