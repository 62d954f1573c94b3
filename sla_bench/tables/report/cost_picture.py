"""Accuracy against cost as a drawing for the report, best rows marked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sla_bench.scenarios.form import TOLERANCE
from sla_bench.scenarios.reading import Row
from sla_bench.tables.figures.style import spread_apart
from sla_bench.tables.folding import folded, names_of
from sla_bench.tables.report.whiskers import round_step, typeset
from sla_bench.tables.table_texts import is_missing

WIDTH, LEFT, RIGHT, TOP, LINE = 430, 34, 152, 10, 13
"""Of the drawing, its margins and a name, in pixels of a wide screen."""
_MOST_NAMES = 16
"""Beside the points of one cost; the others are named when pointed at."""
_LEAST_HEIGHT = 170
_DODGE = 7.0
_ROOM = 96.0
"""Between two costs, from which on the names of all points fit."""


@dataclass(frozen=True)
class Point:
    """One row.

    Args:
        text: its name and accuracy.
        title: the same with interval and cost in words.
        x: of its centre.
        y: likewise.
        low: lower end of its interval, within the frame; None without an interval.
        high: its upper end.
        passes: "one", "several" (as many as there are views) or "many" per test image.
        is_sla: drawn in blue.
        on_front: no row is better that takes as few images and passes.
        name_y: height of its name; None where it is named when pointed at only.
    """

    text: str
    title: str
    x: float
    y: float
    low: float | None
    high: float | None
    passes: str
    is_sla: bool
    on_front: bool
    name_y: float | None


@dataclass(frozen=True)
class CostPicture:
    """A drawing of a setting.

    Args:
        height: of all.
        bottom: of the frame.
        right: of the frame.
        points: dots, in the order of the table.
        front: corners of the line of the best accuracy for at most so many training images.
        images: places and texts of the axis of cost.
        accuracies: places and texts of the axis of accuracy.
        several: passes of the marker "several"; None where all rows have one pass.
    """

    height: float
    bottom: float
    right: float
    points: list[Point]
    front: list[tuple[float, float]]
    images: list[tuple[float, str]]
    accuracies: list[tuple[float, str]]
    several: int | None


def on_front(images: np.ndarray, passes: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    """Mark rows that no other beats at its cost or less.

    Args:
        images: (n,) through the backbone in training; 5 % more count as equal.
        passes: (n,) per test image.
        accuracies: (n,).

    Returns:
        bool (n,): no row with at most as many images and passes has a higher accuracy.
    """
    as_cheap = (images[None] <= images[:, None] * (1 + TOLERANCE)) & (passes[None] <= passes[:, None])
    better = accuracies[None] > accuracies[:, None]
    found: np.ndarray = ~(as_cheap & better).any(axis=1)
    return found


def cost_picture(rows: Iterable[Row]) -> CostPicture | None:
    """Draw the accuracies of one setting and training; None where there are fewer than two methods.

    Args:
        rows: of accuracy; of each method the first counts.
    """
    methods = list({row["method"]: row for row in reversed(folded(rows))}.values())[::-1]
    if len(methods) < 2:
        return None
    images = np.array([row["train_images"] for row in methods], dtype=np.float64)
    passes = np.array([1.0 if is_missing(row["query_passes"]) else row["query_passes"] for row in methods])
    values = np.array([row["value"] for row in methods], dtype=np.float64)
    front = on_front(images, passes, values)
    columns = _columns(images)
    right = WIDTH - RIGHT
    places = _places(columns, right)
    several = min(passes[passes > 1], default=None)
    kinds = ["one" if p <= 1 else "several" if p == several else "many" for p in passes]
    x = np.array([places[c] + _DODGE * (k - 1) for c, k in zip(columns, _rank(kinds), strict=True)])
    named = [_named(np.flatnonzero(columns == c), methods, front, _has_room(c, places)) for c in places]
    bottom = TOP + max(_LEAST_HEIGHT, LINE * max(map(len, named)))
    low, high = _limits(values, methods, front)

    def height(value: float) -> float:
        return round(bottom - (min(max(value, low), high) - low) / (high - low) * (bottom - TOP), 1)

    y = np.array([height(value) for value in values])
    names: dict[int, float] = {}
    for column in named:
        # The stairs leave a column but the last at the height of its best point.
        lift = [LINE * 0.7 if front[k] and places[columns[k]] < max(places.values()) else 0 for k in column]
        lines = spread_apart([y[k] - up for k, up in zip(column, lift, strict=True)], LINE)
        # As a whole back into the frame: the gaps stay.
        shift = max(0.0, TOP - lines.min()) - max(0.0, lines.max() - bottom) if len(lines) else 0.0
        names |= {k: round(float(line + shift), 1) for k, line in zip(column, lines, strict=True)}
    points = []
    for k, row in enumerate(methods):
        known = not is_missing(row["ci95_low"])
        points.append(
            Point(
                text=f"{row['method']} {values[k]:.1f}",
                title=_title(row, passes[k]),
                x=round(float(x[k]), 1),
                y=float(y[k]),
                low=height(row["ci95_low"]) if known else None,
                high=height(row["ci95_high"]) if known else None,
                passes=kinds[k],
                is_sla=bool(row["is_sla"]),
                on_front=bool(front[k]),
                name_y=names.get(k),
            )
        )
    step = round_step((high - low) / 5)
    ticks = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return CostPicture(
        height=bottom + 34,
        bottom=bottom,
        right=right,
        points=points,
        front=_stairs(columns, places, y, right),
        images=[(place, _short(float(images[columns == c].min()))) for c, place in places.items()],
        accuracies=[(height(tick), f"{tick:g}") for tick in ticks],
        several=None if several is None else int(several),
    )


def _columns(images: np.ndarray) -> np.ndarray:
    """The least cost of those that count as equal (n,): rows of one column stand above each other."""
    found = images.copy()
    least = 0.0
    for k in np.argsort(images, kind="stable"):
        if images[k] > least * (1 + TOLERANCE):
            least = images[k]
        found[k] = least
    return found


def _places(columns: np.ndarray, right: float) -> dict[float, float]:
    """Cost -> place on a logarithmic axis, ascending."""
    costs = sorted(set(columns.tolist()))
    first, last = LEFT + 3 * _DODGE, right - 2 * _DODGE
    if len(costs) == 1:
        return {costs[0]: last}
    span = math.log(costs[-1] / costs[0])
    return {c: round(first + (last - first) * math.log(c / costs[0]) / span, 1) for c in costs}


def _has_room(cost: float, places: dict[float, float]) -> bool:
    """Of the last cost the names stand in the margin."""
    later = [place for place in places.values() if place > places[cost]]
    return not later or min(later) - places[cost] >= _ROOM


def _named(column: np.ndarray, methods: Sequence[Row], front: np.ndarray, has_room: bool) -> list[int]:
    """The points of one cost whose names are shown: the front, then SLA, then the best."""
    ranks = sorted(
        column.tolist(), key=lambda k: (not front[k], not methods[k]["is_sla"], -methods[k]["value"])
    )
    return ranks[:_MOST_NAMES] if has_room else [k for k in ranks if front[k]][:3]


def _rank(kinds: Sequence[str]) -> list[int]:
    return [("one", "several", "many").index(kind) for kind in kinds]


def _limits(values: np.ndarray, methods: Sequence[Row], front: np.ndarray) -> tuple[float, float]:
    """Of the axis: all values, and the intervals of the front as far as they do not dwarf them."""
    low, high = float(values.min()), float(values.max())
    spare = max((high - low) / 3, 0.5)
    chosen = [row for row, is_best in zip(methods, front, strict=True) if is_best]
    ends = [row[c] for row in chosen for c in ("ci95_low", "ci95_high") if not is_missing(row[c])]
    low, high = max(min([low, *ends]), low - spare), min(max([high, *ends]), high + spare)
    margin = max(0.05 * (high - low), 0.25)
    return low - margin, high + margin


def _stairs(
    columns: np.ndarray, places: dict[float, float], y: np.ndarray, right: float
) -> list[tuple[float, float]]:
    """Corners of the line of the best accuracy so far, from the least cost to the right end."""
    corners: list[tuple[float, float]] = []
    best = math.inf
    for cost, place in places.items():
        top = float(y[columns == cost].min())
        if corners:
            corners.append((place, best))
        best = min(best, top)
        corners.append((place, best))
    return [*corners, (right, best)]


def _title(row: Row, passes: float) -> str:
    interval = "" if is_missing(row["ci95_low"]) else f" ({row['ci95_low']:.1f} to {row['ci95_high']:.1f})"
    seeds = f"{row['seeds']} seed{'s' * (row['seeds'] > 1)}"
    cost = f"{row['train_images']:,.0f} training images, passes at test: {passes:.0f}"
    return typeset(f"{names_of(row)}: {row['value']:.1f} %{interval}, {seeds}, {cost}")


def _short(images: float) -> str:
    """As in "240 k", "1.5 M"."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if images >= size:
            return f"{images / size:.3g}{letter}"
    return f"{images:.0f}"
