"""Checks of numbers that a user may set."""

from __future__ import annotations

import math

from sla_bench.errors import UserError


def positive(owner: str, name: str, value: float) -> float:
    """Return `value` as a float.

    Raises:
        UserError: it is not a finite number above 0; `owner` and `name` say which option it is.
    """
    if not _is_number(value) or not 0 < value < math.inf:
        raise UserError(f"{owner}: {name} must be a finite number above 0, got {value!r}")
    return float(value)


def not_negative(owner: str, name: str, value: float) -> float:
    """Return `value` as a float.

    Raises:
        UserError: it is not a finite number of at least 0.
    """
    if not _is_number(value) or not 0 <= value < math.inf:
        raise UserError(f"{owner}: {name} must be a finite number of at least 0, got {value!r}")
    return float(value)


def fraction(owner: str, name: str, value: float, why: str) -> float:
    """Return `value` as a float.

    Raises:
        UserError: it is not in [0, 1); `why` explains the meaning of 1 and above.
    """
    if not _is_number(value) or not 0 <= value < 1:
        reason = f": {why}" if _is_number(value) and value >= 1 else ""
        raise UserError(f"{owner}: {name} must be a number in [0, 1), got {value!r}{reason}")
    return float(value)


def whole_number(owner: str, name: str, value: int, lowest: int, highest: int | None = None) -> int:
    """Return `value`.

    Raises:
        UserError: it is not a whole number from `lowest` to `highest` (None: without end).
    """
    whole = _is_number(value) and isinstance(value, int)
    if not whole or value < lowest or (highest is not None and value > highest):
        limits = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise UserError(f"{owner}: {name} must be a whole number {limits}, got {value!r}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
