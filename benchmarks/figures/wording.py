"""Formats of values on pages; words depend on the sign."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from benchmarks.figures.result_files import TableRow, number


def decimals(value: float, digits: int = 1) -> str:
    """A number with thousands separated; never a negative zero.

    Halves go to the even digit, as in the decimal number that a file shows.

    >>> decimals(75000, 0), decimals(-0.01), decimals(77.35)
    ('75,000', '0.0', '77.4')
    """
    return f"{round(Decimal(repr(value)), digits) + Decimal(0):,.{digits}f}"


def accuracy(row: TableRow) -> str:
    """In percent, one decimal."""
    return decimals(number(row, "value"))


def gain(row: TableRow) -> str:
    """`gains 19.5 %` or `loses 7.4 %`: relative, over the row's reference."""
    value = number(row, "relative_gain_pct")
    return f"{'loses' if round(value, 1) < 0 else 'gains'} {decimals(abs(value))} %"


def signed_gain(row: TableRow) -> str:
    """`+19.5` or `-7.4`: relative, in percent, over the row's reference."""
    text = decimals(number(row, "relative_gain_pct"))
    return text if text.startswith("-") else f"+{text}"


def interval(row: TableRow) -> str:
    """` (9.6 to 29.5)`: 95 %, of the relative gain in percent; empty of one seed."""
    if is_of_one_seed(row):
        return ""
    low, high = (decimals(number(row, column)) for column in ("gain_ci95_low", "gain_ci95_high"))
    return f" ({low} to {high})"


def new_classes(row: TableRow) -> str:
    """`1.2 to 9.5`: the interval of the gain in percent on other test classes; empty where there is none."""
    ends = [row[column] for column in ("gain_classes_low", "gain_classes_high")]
    return " to ".join(decimals(float(end)) for end in ends) if all(ends) else ""


def is_of_one_seed(row: TableRow) -> bool:
    """Say whether a gain is an estimate alone."""
    return number(row, "gain_seeds") == 1


def own_accuracy(row: TableRow) -> str:
    """Accuracy of the row on the seeds that it shares with its reference, in percent."""
    return decimals(_on_common_seeds(row)[1])


def reference_accuracy(row: TableRow) -> str:
    """Accuracy of the row's reference on the same seeds: the gain is that of these two."""
    return decimals(_on_common_seeds(row)[0])


def _on_common_seeds(row: TableRow) -> tuple[float, float]:
    """Of the reference, of the row; earlier tables have the gain only, in points and percent."""
    if row.get("reference_value"):
        return number(row, "reference_value"), number(row, "gain_value")
    points = number(row, "gain_points")
    reference = 100 * points / number(row, "relative_gain_pct")
    return reference, reference + points


def between(values: Iterable[float], digits: int = 1) -> str:
    """`2.3 to 521`: smallest and largest as pages write them; one of them where they look the same."""
    values = list(values)
    ends = dict.fromkeys(decimals(value, digits) for value in (min(values), max(values)))
    return " to ".join(ends)


def shares(rows: Iterable[TableRow]) -> str:
    """`2.3 to 4.1`: the smallest and the largest column `share`, in %."""
    values = [100 * number(row, "share") for row in rows]
    ends = (decimals(v) if v >= 10 else f"{v:.2g}" for v in (min(values), max(values)))
    return " to ".join(dict.fromkeys(ends))


def times(ratio: float, figures: int = 2) -> str:
    """A ratio to so many significant figures; none of those before the point is dropped.

    >>> times(2.32), times(63.9), times(520.6), times(0.699), times(9.97), times(1.283, 3)
    ('2.3', '64', '521', '0.70', '10', '1.28')
    """
    before = len(decimals(ratio, max(figures - 1, 0)).partition(".")[0].lstrip("0"))
    return decimals(ratio, max(figures - before, 0))


def times_between(ratios: Iterable[float]) -> str:
    """`2.3 to 521`: the smallest and the largest ratio, written as `times` does."""
    ratios = list(ratios)
    return " to ".join(dict.fromkeys(times(ratio) for ratio in (min(ratios), max(ratios))))
