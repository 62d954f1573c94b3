"""A verdict on a difference of accuracies."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sla_bench.evaluation.crossed_error import crossed_error, error_over_classes

Verdict = Literal["gains", "loses", "no relevant difference", "undecided"]

RELEVANT = 0.01
"""The region of practical equivalence: differences below one point of accuracy, fixed beforehand."""
LEVEL = 0.05
"""Of each one-sided test."""


def verdict(
    base: np.ndarray,
    treated: np.ndarray,
    *,
    strata: ArrayLike | None = None,
    classes: np.ndarray | None = None,
) -> Verdict | None:
    """The verdict on mean(treated) - mean(base), from two one-sided tests at each border.

    The 90 % interval of the difference decides: "gains" where it lies above +1 point, "loses" where it lies
    below -1 point, "no relevant difference" where it lies between the two, else "undecided". A true
    difference at a border is thus called relevant, or irrelevant, by mistake in at most 5 % of cases.

    Args:
        base: (S, T) accuracies of the reference as fractions.
        treated: (S, T), same seeds, same samples.
        strata: (T,) class of each test image. Leave out for episodes.
        classes: (T, W) classes of each episode, the same for all seeds: the verdict is then about other
            classes.

    Returns:
        None where there is no interval: one seed, seeds that do not differ, a class in every episode.
    """
    difference = float(treated.mean() - base.mean())
    deviations = np.asarray(treated, dtype=np.float64) - base - difference
    error = crossed_error(deviations, difference, strata)
    if error.own == 0:
        return None
    if classes is not None:
        over_classes = error_over_classes(error, deviations, classes)
        if over_classes is None:
            return None
        error = over_classes
    reach = error.reach(1 - 2 * LEVEL)
    low, high = difference - reach, difference + reach
    if low > RELEVANT:
        return "gains"
    if high < -RELEVANT:
        return "loses"
    return "no relevant difference" if low > -RELEVANT and high < RELEVANT else "undecided"
