"""Rows of a table that cannot be told from its best row."""

# Multiple comparisons with the best, as in Gupta (1965) and Hsu (1984), by one-sided p-values of the
# generalised distribution and Bonferroni's bound. The true best row is left out only if the row that looks
# best is called better than it. Whichever of the other m rows looks best, that is a mistake which its own
# test makes in at most LEVEL / m of tables, so all together make it in at most LEVEL of them. Holm's steps
# would need the best row to be known beforehand.

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sla_bench.errors import UserError
from sla_bench.evaluation.verdicts import LEVEL, difference_error


def p_behind(
    best: np.ndarray,
    other: np.ndarray,
    *,
    strata: ArrayLike | None = None,
    classes: np.ndarray | None = None,
) -> float | None:
    """One-sided p of mean(other) being as high as mean(best), or higher.

    Args:
        best: (S, T) accuracies as fractions of the row that looks best.
        other: (S, T), same seeds, same samples.
        strata: (T,) class of each test image. Leave out for episodes.
        classes: (T, W) classes of each episode, the same for all seeds: p is then about other classes.

    Returns:
        1 where both are equal in every value; None where there is no interval: one seed, seeds that do not
        differ, a class in every episode.
    """
    if best.shape == other.shape and np.array_equal(best, other):
        return 1.0
    found = difference_error(other, best, strata, classes)
    if found is None:
        return None
    difference, error = found
    half = error.p_value(difference) / 2
    return half if difference > 0 else 1 - half


def tied(p_values: ArrayLike) -> np.ndarray:
    """Say which rows cannot be told from the best row of their table.

    Args:
        p_values: (m,) from `p_behind`, of all rows but the best.

    Returns:
        bool (m,): m p is above 5 %. The true best is the row that looks best, or one of these, in at least
        95 % of tables.

    Raises:
        UserError: a value outside 0..1.
    """
    p = np.atleast_1d(np.asarray(p_values, dtype=np.float64))
    if not np.all((p >= 0) & (p <= 1)):
        raise UserError(f"p-values must lie in 0..1, got {p}")
    found: np.ndarray = len(p) * p > LEVEL
    return found
