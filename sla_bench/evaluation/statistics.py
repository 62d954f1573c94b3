"""Intervals and p-values of accuracies and gains over seeds and samples."""

# Accuracies are fractions 0..1 of S seeds on T test samples; a sample is one column of the arrays.
# `crossed_error` gives variances, `ErrorDistribution` intervals and p-values.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from sla_bench.errors import UserError
from sla_bench.evaluation.crossed_error import (
    ErrorDistribution,
    crossed_error,
    error_over_classes,
    seed_error,
)
from sla_bench.evaluation.verdicts import sign_flip_test

IntervalKind = Literal["crossed", "seeds", "one seed"]
NONE = float("nan")


@dataclass(frozen=True)
class MeanInterval:
    """A mean with its 95 % interval.

    Args:
        estimate: mean over seeds and samples.
        low: lower end of the interval; NaN where there is none: of one seed, and where seeds do not differ.
        high: upper end of the interval.
        standard_error: square root of the estimated variance of the mean; NaN as `low`.
        interval_kind: "crossed" covers seeds and samples, "seeds" covers seeds only; "one seed": no interval.
        seeds: S.
        samples: T, or 1 where there is one number per seed.
        seeds_error: the part of the standard error that comes from the seeds: root of `own`; NaN as `low`.
        test_error: the part that all seeds share, from the test samples: root of `shared`; NaN as `low`, and
            where there is one number per seed. The squares of both add up to that of the whole.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    interval_kind: IntervalKind
    seeds: int
    samples: int
    seeds_error: float
    test_error: float


@dataclass(frozen=True)
class Gain(MeanInterval):
    """Relative gain of a treated method over a reference; 0.1 is 10 % more accuracy.

    `estimate`, `low`, `high` and `standard_error` are of mean(treated) / mean(base) - 1.

    Args:
        p_value: two-sided, of the same distribution as the interval; NaN where there is no interval.
        p_sign_flip: two-sided, from flipping the signs of the seeds' differences; it is about seeds on
            these test samples. NaN with one seed.
        smallest_p: the least value that `p_sign_flip` can take with this many seeds; NaN with one seed.
        gain_points: 100 (mean(treated) - mean(base)), in percentage points.
        error_reduction_pct: 100 (1 - (1 - mean(treated)) / (1 - mean(base))); NaN where the reference
            makes no error.
        classes_low: lower end of the 95 % interval of the gain on other test classes; NaN where the classes
            are not given, are in every episode, or there is no interval.
        classes_high: its upper end.
        classes_error: standard error of the gain over test classes alone (jackknife); NaN where they are not
            given or are in every episode.
    """

    p_value: float
    p_sign_flip: float
    smallest_p: float
    gain_points: float
    error_reduction_pct: float
    classes_low: float
    classes_high: float
    classes_error: float


@dataclass(frozen=True)
class _Scale:
    """A scale on which an estimate's error is nearly symmetric, and whose ends can't be passed.

    Args:
        there: estimate -> scale.
        back: scale -> estimate.
        slope: derivative of `there`.
    """

    there: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]


_PLAIN = _Scale(float, float, lambda _: 1.0)
_SHARE = _Scale(logit, expit, lambda share: 1 / (share * (1 - share)))
# log(mean(treated) / mean(base)): no gain is below -100 %.
_RATIO = _Scale(np.log1p, np.expm1, lambda gain: 1 / (1 + gain))


def paired_relative_gain(
    base: ArrayLike,
    treated: ArrayLike,
    seed: int = 0,
    *,
    strata: ArrayLike | None = None,
    classes: np.ndarray | None = None,
) -> Gain:
    """Relative gain of `treated` over `base` with interval and p-values of the crossed design.

    The interval is that of log(mean(treated) / mean(base)), linearised: its variance is that of the mean of
    the influence values (treated - (1 + g) base) / mean(treated), which pair the methods by seed and sample.
    In simulation it holds the true gain in 93-98 % of cases with 2 seeds and more, whatever part of the
    variance is the seeds', and p-values are at or below their nominal level (docs/protocol.md).

    Args:
        base: (S, T) accuracies of the reference, or (T,) for one seed. Rows are seeds, columns test samples.
        treated: same shape, same seeds, same samples.
        seed: of the random sign flips, used for more than 16 seeds only.
        strata: (T,) class of each test image: sampling is then within class. Leave out for episodes.
        classes: (T, W) classes of each episode, the same for all seeds: for the interval on other classes.

    Raises:
        UserError: shapes differ, fewer than two samples, a value that is not finite, reference mean not
            above zero, a class with a single test image, or a class twice in one episode.
    """
    reference, method = _accuracies(base, "reference"), _accuracies(treated, "treated")
    if reference.shape != method.shape:
        raise UserError(
            f"reference and treated accuracies must have one shape (seeds, samples), "
            f"got {reference.shape} and {method.shape}"
        )
    mean0, gain = _ratio(reference, method)
    deviations = (method - (1 + gain) * reference) / mean0
    error = crossed_error(deviations, gain, strata)
    wider = None if classes is None else error_over_classes(error, deviations, classes)
    means = reference.mean(axis=1), method.mean(axis=1)
    return _gain(gain, error, "crossed", reference.shape, means, seed, wider)


def mean_interval(values: ArrayLike, *, strata: ArrayLike | None = None, share: bool = True) -> MeanInterval:
    """Mean accuracy of one method with the 95 % interval of the crossed design.

    Args:
        values: (S, T) accuracies, or (T,) for one seed, which has no interval.
        strata: (T,) class of each test image: sampling is then within class. Leave out for episodes.
        share: values are fractions 0..1, and so are the ends of the interval (logit scale). False: any
            numbers, such as differences.

    Raises:
        UserError: fewer than two samples, a value that is not finite or outside 0..1 where it has to be
            there, or a class with a single test image.
    """
    accuracies = _accuracies(values, "given")
    mean = float(accuracies.mean())
    error = crossed_error(accuracies - mean, mean, strata)
    return _interval(mean, error, _scale_of(accuracies, share), "crossed", accuracies.shape)


def mean_over_seeds(values: ArrayLike, *, share: bool = True) -> MeanInterval:
    """Mean of a metric with one value per seed, such as a macro F1, with the t interval over seeds.

    Args:
        values: (S,) finite numbers.
        share: as in `mean_interval`.

    Raises:
        UserError: no value, or one that is not finite or outside 0..1 where it has to be there.
    """
    figures = _figures(values, "given")
    mean = float(figures.mean())
    error = seed_error(figures - mean, mean)
    return _interval(mean, error, _scale_of(figures, share), "seeds", (len(figures), 1))


def paired_gain_over_seeds(base: ArrayLike, treated: ArrayLike, seed: int = 0) -> Gain:
    """Relative gain of a metric with one value per seed, linearised as in `paired_relative_gain`.

    The test samples are taken as given: the interval covers seeds only.

    Args:
        base: (S,) of the reference.
        treated: (S,), same seeds.
        seed: of the random sign flips, used for more than 16 seeds only.

    Raises:
        UserError: lengths differ, a value that is not finite, or a reference whose mean is not above zero.
    """
    reference, method = _figures(base, "reference"), _figures(treated, "treated")
    if reference.shape != method.shape:
        raise UserError(
            f"reference and treated must have one figure per seed, got {reference.shape} and {method.shape}"
        )
    mean0, gain = _ratio(reference, method)
    error = seed_error((method - (1 + gain) * reference) / mean0, gain)
    return _gain(gain, error, "seeds", (len(reference), 1), (reference, method), seed, None)


def _accuracies(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or not len(array) or array.shape[1] < 2:
        raise UserError(
            f"{name} accuracies must be (seeds, samples) with at least 2 samples, got {array.shape}"
        )
    if not np.isfinite(array).all():
        raise UserError(f"{name} accuracies hold {np.count_nonzero(~np.isfinite(array))} values not finite")
    return array


def _figures(values: ArrayLike, name: str) -> np.ndarray:
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise UserError(f"{name} figures must be finite numbers, one per seed, got {array}")
    return array


def _ratio(reference: np.ndarray, method: np.ndarray) -> tuple[float, float]:
    """Mean of the reference, and the relative gain over it."""
    mean = float(reference.mean())
    if mean <= 0:
        raise UserError(f"relative gain needs a reference with a mean above 0, got {mean:g}")
    return mean, float(method.mean()) / mean - 1


def _scale_of(values: np.ndarray, share: bool) -> _Scale:
    if share and (values.min() < 0 or values.max() > 1):
        raise UserError(
            f"shares must lie in 0..1, found {values.min():g} to {values.max():g}; "
            "pass share=False for other numbers"
        )
    return _SHARE if share else _PLAIN


def _ends(estimate: float, error: ErrorDistribution, scale: _Scale) -> tuple[float, float]:
    """Of the 95 % interval; NaN where seeds do not differ, and of a mean at an end of its scale."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        place = scale.there(estimate)
        if error.own == 0 or not np.isfinite(place):
            return NONE, NONE
        reach = error.reach() * scale.slope(estimate)
        return float(scale.back(place - reach)), float(scale.back(place + reach))


def _interval(
    estimate: float, error: ErrorDistribution, scale: _Scale, kind: IntervalKind, shape: tuple[int, ...]
) -> MeanInterval:
    seeds, samples = shape
    low, high = _ends(estimate, error, scale)
    return MeanInterval(
        estimate=estimate,
        low=low,
        high=high,
        standard_error=error.standard_error if error.own else NONE,
        interval_kind=kind if seeds > 1 else "one seed",
        seeds=seeds,
        samples=samples,
        seeds_error=float(np.sqrt(error.own)) if error.own else NONE,
        test_error=float(np.sqrt(error.shared)) if error.own and kind == "crossed" else NONE,
    )


def _gain(
    gain: float,
    error: ErrorDistribution,
    kind: IntervalKind,
    shape: tuple[int, ...],
    means: tuple[np.ndarray, np.ndarray],
    seed: int,
    over_classes: ErrorDistribution | None,
) -> Gain:
    """Add p-values and differences; means of each seed (S,), of reference and method."""
    interval = _interval(gain, error, _RATIO, kind, shape)
    mean0, mean1 = (float(mean.mean()) for mean in means)
    p_value = p_sign_flip = smallest_p = classes_low = classes_high = classes_error = NONE
    if not np.isnan(interval.low):
        p_value = error.p_value(_RATIO.there(gain) / _RATIO.slope(gain))
    if interval.seeds > 1:
        p_sign_flip, smallest_p = sign_flip_test(means[1] - means[0], seed)
    if over_classes is not None:
        classes_low, classes_high = _ends(gain, over_classes, _RATIO)
        classes_error = float(np.sqrt(over_classes.shared))
    return Gain(
        **vars(interval),
        p_value=p_value,
        p_sign_flip=p_sign_flip,
        smallest_p=smallest_p,
        gain_points=100 * (mean1 - mean0),
        error_reduction_pct=100 * (mean1 - mean0) / (1 - mean0) if mean0 < 1 else NONE,
        classes_low=classes_low,
        classes_high=classes_high,
        classes_error=classes_error,
    )
