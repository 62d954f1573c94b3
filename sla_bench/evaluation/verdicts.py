"""Verdicts on differences, the test of sign flips, and families of gains."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sla_bench.errors import UserError
from sla_bench.evaluation.crossed_error import ErrorDistribution, crossed_error, error_over_classes

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
    region: float = RELEVANT,
) -> Verdict | None:
    """The verdict on mean(treated) - mean(base), from two one-sided tests at each border.

    The 90 % interval of the difference decides: "gains" where it lies above +region, "loses" where it lies
    below -region, "no relevant difference" where it lies between the two, else "undecided". A true
    difference at a border is thus called relevant, or irrelevant, by mistake in at most 5 % of cases.

    Args:
        base: (S, T) accuracies of the reference as fractions.
        treated: (S, T), same seeds, same samples.
        strata: (T,) class of each test image. Leave out for episodes.
        classes: (T, W) classes of each episode, the same for all seeds: the verdict is then about other
            classes.
        region: largest difference that is not relevant, as a fraction; that of the protocol is one point.

    Returns:
        None where there is no interval: one seed, seeds that do not differ, a class in every episode.

    Raises:
        UserError: a region of 0 points, or of 100 and more.
    """
    if not 0 < region < 1:
        raise UserError(
            f"a region of practical equivalence lies above 0 and below 100 points, got {100 * region:g}; "
            f"that of the protocol is {100 * RELEVANT:g}"
        )
    found = difference_error(base, treated, strata, classes)
    return None if found is None else _decide(*found, region)


def seeds_to_decide(
    base: np.ndarray,
    treated: np.ndarray,
    *,
    strata: ArrayLike | None = None,
    classes: np.ndarray | None = None,
) -> float | None:
    """How many seeds in all decide an undecided contrast, if difference and variances stay as estimated.

    Args:
        base: as in `verdict`.
        treated: likewise.
        strata: likewise.
        classes: likewise.

    Returns:
        None where the contrast is decided or can't be; infinity where 1,000 seeds would not decide it: the
        test has too few images or classes.
    """
    found = difference_error(base, treated, strata, classes)
    if found is None or _decide(*found) != "undecided":
        return None
    difference, error = found
    seeds = len(base)

    def decided(count: int) -> bool:
        own = error.own * seeds / count
        return _decide(difference, replace(error, own=own, own_freedom=count - 1)) != "undecided"

    # The interval of more seeds lies within that of fewer.
    more = range(seeds + 1, _MOST_SEEDS + 1)
    position = bisect_left(more, True, key=decided)
    return more[position] if position < len(more) else math.inf


def difference_error(
    base: np.ndarray, treated: np.ndarray, strata: ArrayLike | None, classes: np.ndarray | None
) -> tuple[float, ErrorDistribution] | None:
    """mean(treated) - mean(base) and its error, None where there is no interval.

    Args:
        base: as in `verdict`.
        treated: likewise.
        strata: likewise.
        classes: likewise.
    """
    difference = float(treated.mean() - base.mean())
    deviations = np.asarray(treated, dtype=np.float64) - base - difference
    error = crossed_error(deviations, difference, strata)
    if error.own == 0:
        return None
    if classes is None:
        return difference, error
    over_classes = error_over_classes(error, deviations, classes)
    return None if over_classes is None else (difference, over_classes)


def _decide(difference: float, error: ErrorDistribution, region: float = RELEVANT) -> Verdict:
    reach = error.reach(1 - 2 * LEVEL)
    low, high = difference - reach, difference + reach
    if low > region:
        return "gains"
    if high < -region:
        return "loses"
    return "no relevant difference" if low > -region and high < region else "undecided"


_MOST_SEEDS = 1000
MAX_EXACT_SEEDS = 16
MONTE_CARLO_FLIPS = 2**16 - 1


def sign_flip_test(differences: np.ndarray, seed: int) -> tuple[float, float]:
    """Two-sided p-value of the sum of differences under random signs, and the least possible p-value.

    It is about seeds on these test samples: if the methods were exchangeable, each seed's difference could
    have either sign. The reference's mean scales all differences alike, so those of accuracies serve the
    relative gain too.

    Args:
        differences: (S,) treated - reference.
        seed: of the random flips, used for more than `MAX_EXACT_SEEDS` seeds only.
    """
    # rounding must not break the tie between the observed signs and their equals
    observed = abs(float(differences.sum())) - 1e-12 * float(np.abs(differences).sum())
    seeds = len(differences)
    if seeds <= MAX_EXACT_SEEDS:
        sums = differences[:1]
        for difference in differences[1:]:
            sums = np.concatenate([sums + difference, sums - difference])
        return float((np.abs(sums) >= observed).mean()), 2.0 ** (1 - seeds)
    flips = np.random.default_rng(seed).integers(0, 2, size=(MONTE_CARLO_FLIPS, seeds), dtype=np.int8)
    sums = (2.0 * flips - 1.0) @ differences
    p = (1 + np.count_nonzero(np.abs(sums) >= observed)) / (1 + MONTE_CARLO_FLIPS)
    return p, 1 / (1 + MONTE_CARLO_FLIPS)  # 2^(1 - S) is no larger, where the flips are not exact


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down adjustment (1979) of p-values of one family.

    Args:
        p_values: (m,), NaN where there is no test; those stay NaN and are not counted in m.

    Returns:
        Adjusted p-values (m,), at most 1.

    Raises:
        UserError: a value outside 0..1.
    """
    p = np.atleast_1d(np.asarray(p_values, dtype=np.float64))
    tested = np.flatnonzero(~np.isnan(p))
    if np.any((p[tested] < 0) | (p[tested] > 1)):
        raise UserError("p-values must lie in 0..1")
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps * p[order]))
    return adjusted


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half (Agarwal et al. 2021, arXiv 2108.13264): n // 4 values cut off at each end.

    Args:
        values: (n,), NaN (rows without a gain) left out.

    Raises:
        UserError: no value is left.
    """
    kept = np.sort(_present(values))
    cut = len(kept) // 4
    return float(kept[cut : len(kept) - cut].mean())


def share_of_losses(gains: ArrayLike) -> float:
    """Fraction of gains below zero.

    Args:
        gains: (n,), NaN (rows without a gain) left out.

    Raises:
        UserError: no value is left.
    """
    return float((_present(gains) < 0).mean())


def _present(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    if not len(array):
        raise UserError("a summary over gains needs at least one gain")
    return array
