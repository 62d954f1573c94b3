"""Typeset numbers, and gains as positions on a common axis."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sla_bench.tables.table_texts import ONE_SEED, is_missing

_TICKS = 4
_SIGN = re.compile(r"(?<![^ (])-(?=\d)")


def typeset(text: str) -> str:
    """Return a text of figures with the signs of print."""
    return text.replace("+-", "±").replace("-", "\N{MINUS SIGN}")


def typeset_words(text: str) -> str:
    """Return a sentence whose numbers have the signs of print; hyphens of names and options stay."""
    return _SIGN.sub("\N{MINUS SIGN}", text)


@dataclass(frozen=True)
class Whisker:
    """A dot and the line of its interval.

    Args:
        place: of the dot, 0..100; None where it is beyond the axis.
        low: left end of the line, 0..100; None where there is no interval.
        high: right end.
        cut_low: dot or interval continues beyond the left end of the axis.
        cut_high: the same on the right.
        alone: of one seed, without an interval.
    """

    place: float | None
    low: float | None
    high: float | None
    cut_low: bool
    cut_high: bool
    alone: bool


@dataclass(frozen=True)
class Axis:
    """The axis that all gains of a table share.

    Args:
        low: value in % at its left end.
        high: value at its right end; above `low`.
    """

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where a value lies, 0..100; values beyond an end are put there."""
        return round(100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 2)

    def ticks(self) -> list[tuple[float, str, bool]]:
        """Return place and text of two to five round values, and whether a small screen shows it.

        Zero is one of them where it is on the axis.
        """
        step = round_step((self.high - self.low) / _TICKS)
        numbers = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        return [
            (self.place(n * step), typeset(f"{n * step:+.12g}") if n else "0", n % 2 == 0) for n in numbers
        ]

    def whisker(self, row: Mapping[Any, Any]) -> Whisker | None:
        """Return the dot and line of a row of the leaderboard; None where it has no gain."""
        if is_missing(row["relative_gain_pct"]):
            return None
        gain, low, high = (row[c] for c in ("relative_gain_pct", "gain_ci95_low", "gain_ci95_high"))
        known = not is_missing(low) and not is_missing(high)
        first, last = (low, high) if known else (gain, gain)
        return Whisker(
            place=self.place(gain) if self.low <= gain <= self.high else None,
            low=self.place(low) if known else None,
            high=self.place(high) if known else None,
            cut_low=bool(first < self.low),
            cut_high=bool(last > self.high),
            alone=row["gain_interval_kind"] == ONE_SEED,
        )


def round_step(rough: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
