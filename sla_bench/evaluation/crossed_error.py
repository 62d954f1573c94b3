"""Variance of a mean over seeds that share their test samples."""

# Seeds and test samples (episodes, or images) are *crossed*: a hard episode is hard for all seeds, so
# neither seeds x samples independent observations nor samples nested in seeds describe the data. With values
# of S seeds on T samples, value[s, e] = mean + seed[s] + sample[e] + rest[s, e], the variance of the overall
# mean is var(seed)/S + var(sample)/T + var(rest)/(S T). The variance of the seeds' means over S estimates
# the first and the last term (`own`), the covariance of two seeds over the samples the second one
# (`shared`).

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from sla_bench.errors import UserError
from sla_bench.evaluation.episode_metrics import class_variance
from sla_bench.evaluation.error_distribution import ErrorDistribution

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
