"""The best method, chosen on one half, measured on the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sla_bench.errors import UserError

MOST_GROUPS = 5
LEAST_GROUPS = 3
"""Groups of pictures in each half: the gain is a mean over those of the second."""
LEAST_PICTURES = 4 * LEAST_GROUPS
"""Of a class: one support and one query in each group."""


def deal(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """Deal pictures to disjoint groups of equal numbers of each class, as many groups as classes allow.

    Classes with too few pictures for one support and one query in each of six groups are left out.

    Args:
        labels: int64 (N,).
        seed: of the order of the pictures.

    Returns:
        2 G groups of positions, int64 (n,) each; the first G are for the choice.

    Raises:
        UserError: fewer than two classes are left.
    """
    counts = np.bincount(labels)
    able = np.flatnonzero(counts >= LEAST_PICTURES)
    if len(able) < 2:
        raise UserError(
            f"{len(able)} classes have the {LEAST_PICTURES} pictures that a comparison needs, and it takes "
            "two; add pictures, or use predict --support, which takes any number"
        )
    # Half of the classes can have five pictures in a group.
    groups = int(np.clip(np.median(counts[able]) // 10, LEAST_GROUPS, MOST_GROUPS))
    parts = 2 * min(groups, int(counts[able].min()) // 4)
    random = np.random.default_rng(seed)
    dealt: list[list[np.ndarray]] = [[] for _ in range(parts)]
    for label in able:
        order = random.permutation(np.flatnonzero(labels == label))
        each = len(order) // parts
        for group, chosen in enumerate(order[: each * parts].reshape(parts, each)):
            dealt[group].append(chosen)
    return [np.sort(np.concatenate(group)) for group in dealt]


@dataclass(frozen=True)
class Comparison:
    """A method against the plain one, in points of accuracy.

    Args:
        accuracy: in %, on the second half.
        gain: mean difference over the groups of the second half.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    accuracy: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Advice:
    """What to use.

    Args:
        chosen: the method that the first half preferred to plain; None: it preferred plain.
        recommended: it is better than plain on the second half, its interval above zero.
        rows: method -> comparison on the second half.
        groups: in each half.
    """

    chosen: str | None
    recommended: bool
    rows: Mapping[str, Comparison]
    groups: int

    @property
    def method(self) -> str | None:
        """The recommended method; None: plain."""
        return self.chosen if self.recommended else None


def advise(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], plain: str) -> Advice:
    """Choose on the first half, and measure on the second.

    Groups have no picture in common, so the t interval over the groups of the second half holds whatever was
    chosen on the first.

    Args:
        first: method -> accuracies (G,) in 0..1 of the groups of the first half.
        second: the same of the second half.
        plain: the reference among the methods.
    """
    rows = {name: _compare(values, second[plain]) for name, values in second.items()}
    gains = {name: float((values - first[plain]).mean()) for name, values in first.items() if name != plain}
    best = max(gains, key=gains.__getitem__)
    chosen = best if gains[best] > 0 else None
    return Advice(chosen, chosen is not None and rows[chosen].low > 0, rows, len(second[plain]))


def _compare(values: np.ndarray, plain: np.ndarray) -> Comparison:
    difference = 100 * (values - plain)
    mean, groups = float(difference.mean()), len(difference)
    reach = stats.t.ppf(0.975, groups - 1) * float(difference.std(ddof=1)) / math.sqrt(groups)
    return Comparison(100 * float(values.mean()), mean, mean - reach, mean + reach)
