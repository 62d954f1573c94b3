"""Errors of means over training seeds that share their test samples."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import chi2

from sla_bench.errors import UserError
from sla_bench.evaluation.episode_metrics import class_variance

_TAIL = 1e-13
"""Probability left out at each end of a chi-square: p-values down to 1e-12 keep their first digits."""
_STEPS_PER_DEVIATION = 1.4
_LARGEST_STEP = 0.5
_MARGIN = 0.6


@dataclass(frozen=True)
class ErrorDistribution:
    """The error of an estimate whose variance is the sum of two parts, each known from few values only.

    Given the estimated parts, the error is N(0, own f/chi2_f + shared g/chi2_g), averaged over both
    chi-squares: the generalised (fiducial) distribution of Weerahandi (1993), which for two parts is Behrens
    and Fisher's. It is exactly t with f degrees of freedom where `shared` is 0, and with g where `own` is 0.

    Args:
        own: estimated variance of the mean from the training seeds, at least 0.
        shared: the same from what all seeds share, the test samples or classes, at least 0.
        own_freedom: f, degrees of freedom of `own`: seeds - 1.
        shared_freedom: g, degrees of freedom of `shared`.
    """

    own: float
    shared: float
    own_freedom: float
    shared_freedom: float

    @property
    def standard_error(self) -> float:
        """Square root of the whole variance; 0 where nothing varies."""
        return float(np.sqrt(self.own + self.shared))

    def p_value(self, estimate: float) -> float:
        """Two-sided p: the share of errors at least as large as `estimate`; NaN without any variance."""
        if self.standard_error == 0:
            return float("nan")
        return float(two_sided_p(estimate, self.own, self.shared, self.own_freedom, self.shared_freedom)[()])

    def reach(self, level: float = 0.95) -> float:
        """Half-width of the interval that holds the error with this probability; NaN where nothing varies.

        Args:
            level: 0 < level < 1.
        """
        if self.standard_error == 0:
            return float("nan")

        both = _tails(self.own, self.shared, self.own_freedom, self.shared_freedom)

        def excess(reach: float) -> float:
            return float(both(self.standard_error * reach)[()]) - (1 - level)

        # Between the normal distribution and 2^(1/2) times the t with the fewer degrees of freedom.
        tail = (1 - level) / 2
        least = float(-ndtri(tail))
        most = float(-stdtrit(min(self.own_freedom, self.shared_freedom), tail))
        return self.standard_error * float(brentq(excess, _MARGIN * least, most / _MARGIN, xtol=1e-9))


def two_sided_p(
    estimates: ArrayLike, own: ArrayLike, shared: ArrayLike, own_freedom: float, shared_freedom: float
) -> np.ndarray:
    """p-values of many estimates at once, each as from `ErrorDistribution`.

    Args:
        estimates: (N,), or of any shape.
        own: (N,) variances, at least one of the two above 0.
        shared: (N,).
        own_freedom: f.
        shared_freedom: g.

    Returns:
        (N,) probabilities.
    """
    return _tails(own, shared, own_freedom, shared_freedom)(estimates)


def _tails(
    own: ArrayLike, shared: ArrayLike, own_freedom: float, shared_freedom: float
) -> Callable[[ArrayLike], np.ndarray]:
    """Return estimates -> p-values; arguments as of `two_sided_p`."""
    own_factors, own_weights = _variance_factors(own_freedom)
    shared_factors, shared_weights = _variance_factors(shared_freedom)
    own, shared = np.asarray(own)[..., None, None], np.asarray(shared)[..., None, None]
    deviations = np.sqrt(own * own_factors[:, None] + shared * shared_factors)

    def p_values(estimates: ArrayLike) -> np.ndarray:
        tails: np.ndarray = ndtr(-np.abs(np.asarray(estimates))[..., None, None] / deviations)
        p: np.ndarray = np.minimum(1, 2 * np.einsum("...ij,i,j->...", tails, own_weights, shared_weights))
        return p

    return p_values


@functools.lru_cache(maxsize=256)
def _variance_factors(freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Values of freedom/chi2 and their probabilities, (n,) each.

    The trapezoidal rule in log(chi2), whose density falls off at both ends: its error falls exponentially
    with the number of steps.
    """
    low, high = np.log(chi2.ppf(_TAIL, freedom)), np.log(chi2.isf(_TAIL, freedom))
    step = min(_LARGEST_STEP, float(np.sqrt(2 / freedom)) / _STEPS_PER_DEVIATION)
    logs = np.linspace(low, high, int(np.ceil((high - low) / step)) + 1)
    density = np.exp(freedom / 2 * (logs - np.log(freedom)) - (np.exp(logs) - freedom) / 2)
    return freedom * np.exp(-logs), density / density.sum()


# Seeds and test samples (episodes, or images) are *crossed*: a hard episode is hard for all seeds, so
# neither seeds x samples independent observations nor samples nested in seeds describe the data. With values
# of S seeds on T samples, value[s, e] = mean + seed[s] + sample[e] + rest[s, e], the variance of the overall
# mean is var(seed)/S + var(sample)/T + var(rest)/(S T). The variance of the seeds' means over S estimates
# the first and the last term (`own`), the covariance of two seeds over the samples the second one
# (`shared`).


# Relative to 1 or, where it is larger, to the estimate: a deviation below this is that of floating-point
# sums, which depends on the order of seeds and samples. It means that nothing varies.
_ROUNDING = 1e-14


def crossed_error(
    deviations: np.ndarray, estimate: float, strata: ArrayLike | None = None
) -> ErrorDistribution:
    """The error of an estimate that is, but for a constant, the mean of influence values.

    Means of seeds are multiples of one right answer and may be equal by chance, in 3 % of pairs of seeds on
    2,000 images. Then `own` is var(rest)/(S T), the variance of the seeds' means from test sampling alone.

    Args:
        deviations: (S, T) influence values of the estimate.
        estimate: the estimate itself; rounding is relative to it.
        strata: (T,) class of each test image: sampling is then within class. None: samples are episodes.

    Returns:
        `own` is 0 where seeds differ in nothing, as one seed does: there is then no interval.

    Raises:
        UserError: strata of another length, or a class with a single test image.
    """
    seeds, samples = deviations.shape
    order, starts, counts = _by_stratum(strata, samples)
    error = seed_error(deviations.mean(axis=1), estimate)
    if seeds == 1:
        return error
    values = deviations if strata is None else deviations[:, order]
    means = np.add.reduceat(values, starts, axis=1) / counts
    centred = values - (means if strata is None else np.repeat(means, counts, axis=1))
    squares = np.einsum("st,st->t", centred, centred)

    def mean_within(products: np.ndarray) -> float:
        mean: float = float(counts @ (np.add.reduceat(products, starts) / (counts - 1))) / samples
        return mean

    # sum over pairs s != s' of x_s x_s' = (sum x)^2 - sum x^2: all pairs in O(S T)
    covariance = mean_within((centred.sum(axis=0) ** 2 - squares) / (seeds * (seeds - 1)))
    rest = mean_within(squares) / seeds - covariance
    if error.own == 0 and rest > (_ROUNDING * max(1.0, abs(estimate))) ** 2:
        error = dataclasses.replace(error, own=rest / (seeds * samples))
    shared = max(0.0, covariance) / samples
    return dataclasses.replace(error, shared=shared, shared_freedom=samples - len(counts))


def seed_error(deviations: np.ndarray, estimate: float) -> ErrorDistribution:
    """The error of an estimate that is, but for a constant, the mean of one influence value per seed.

    Args:
        deviations: (S,).
        estimate: as in `crossed_error`.

    Returns:
        A t distribution with S - 1 degrees of freedom; `own` is 0 where seeds are one or equal.
    """
    seeds = len(deviations)
    own = float(deviations.var(ddof=1)) / seeds if seeds > 1 else 0.0
    if own <= (_ROUNDING * max(1.0, abs(estimate))) ** 2:
        own = 0.0
    return ErrorDistribution(own, 0.0, max(seeds - 1, 1), 1)


def error_over_classes(
    error: ErrorDistribution, deviations: np.ndarray, classes: np.ndarray
) -> ErrorDistribution | None:
    """The error of the same estimate on test classes that were not tested: other classes of the same kind.

    The variance over classes is the delete-one-class jackknife's of the seeds' mean. It takes the place of
    `shared`, which is that of episodes of these classes, and holds it: chance in the draw of episodes adds
    about W (C - 1)/(C - W) times `shared` to it. Taking that off would leave the difference of two estimates,
    which calls differences irrelevant too often where classes hardly matter.

    Args:
        error: of `crossed_error`.
        deviations: (S, T) influence values.
        classes: (T, W) classes of each episode, the same for all seeds.

    Returns:
        None where some class is in every episode (W = C).

    Raises:
        UserError: as `sla_bench.evaluation.episode_metrics.class_variance`.
    """
    variance = class_variance(deviations.mean(axis=0), classes)
    if variance is None:
        return None
    shared = max(error.shared, variance)
    return dataclasses.replace(error, shared=shared, shared_freedom=len(np.unique(classes)) - 1)


def strata_of(labels: ArrayLike) -> np.ndarray | None:
    """Give the classes within which test images can be drawn, from the images' classes (T,).

    None where a class has a single image, which says nothing of its class: images are then drawn over all
    classes, and intervals hold the differences between classes too, so that they are wider.
    """
    classes = np.asarray(labels)
    counts = np.unique(classes, return_counts=True)[1]
    return classes if counts.min() > 1 else None


def _by_stratum(strata: ArrayLike | None, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns ordered by class (T,), where each class starts (K,), how many samples it has (K,)."""
    if strata is None:
        return np.arange(samples), np.zeros(1, dtype=np.int64), np.array([samples])
    labels = np.asarray(strata)
    if labels.shape != (samples,):
        raise UserError(f"strata must give one class for each of {samples} samples, got {labels.shape}")
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        single = classes[counts.argmin()]
        raise UserError(f"class {single} has 1 test image; resampling within class needs at least 2")
    return np.argsort(labels, kind="stable"), np.cumsum(counts) - counts, counts
