"""Formulas of docs/protocol.md with NumPy and the t distribution, without sla_bench."""

# An error is (own, shared, degrees of freedom of each): the seeds' part of a mean's variance, and the part
# shared by all seeds. None: seeds do not differ, so that there is no interval.

import itertools
import math

import numpy as np
from scipy.stats import t


def two_sided_p(size, own, shared, own_freedom, shared_freedom):
    """P(|error| > size): the fiducial error is own^(1/2) t + shared^(1/2) t', with independent t and t'."""
    both = sorted([(math.sqrt(own), own_freedom), (math.sqrt(shared), shared_freedom)])
    (narrow, of_narrow), (wide, of_wide) = both
    if narrow == 0:
        return 2 * t.sf(size / wide, of_wide)
    # The trapezoidal rule in asinh of the narrower one.
    x = np.linspace(-35, 35, 1401)
    weights = t.pdf(np.sinh(x), of_narrow) * np.cosh(x) * (x[1] - x[0])
    tails = [t.sf((size + sign * narrow * np.sinh(x)) / wide, of_wide) for sign in (1, -1)]
    return float(weights @ sum(tails))


def reach(error, level):
    """Half-width of the interval, by secants of log p over log size."""
    deviation = math.sqrt(error[0] + error[1])
    sizes, goal = [1.5 * deviation, 3 * deviation], math.log(1 - level)
    logs = [math.log(two_sided_p(size, *error)) - goal for size in sizes]
    while abs(logs[-1]) > 1e-12 and sizes[-1] != sizes[-2]:
        slope = (logs[-1] - logs[-2]) / math.log(sizes[-1] / sizes[-2])
        sizes.append(sizes[-1] * math.exp(-logs[-1] / slope))
        logs.append(math.log(two_sided_p(sizes[-1], *error)) - goal)
    return sizes[-1]


def crossed(values, labels=None):
    """The error of the mean of (S, T) values; None where seeds do not differ."""
    seeds, samples = values.shape
    if seeds == 1:
        return None
    parts = [values] if labels is None else [values[:, labels == one] for one in np.unique(labels)]
    if min(part.shape[1] for part in parts) == 1:
        parts = [values]
    covariance = sum(part.shape[1] / samples * np.cov(part) for part in parts)
    shared = (covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1))
    own = values.mean(axis=1).var(ddof=1) / seeds
    if own < 1e-28:
        own = (np.trace(covariance) / seeds - shared) / (seeds * samples)
    if own < 1e-28:
        return None
    return own, max(shared, 0) / samples, seeds - 1, samples - len(parts)


def over_seeds(values):
    """The same of one value per seed."""
    own = np.var(values, ddof=1) / len(values) if len(values) > 1 else 0
    return (own, 0, len(values) - 1, 1) if own > 1e-28 else None


def jackknife(values, classes):
    """Variance over classes of the mean of (T,) values; None where a class is in every episode."""
    names = np.unique(classes)
    without = [values[~(classes == name).any(axis=1)] for name in names]
    if not all(map(len, without)):
        return None
    return (len(names) - 1) * np.var([left.mean() for left in without])


SCALES = {
    "share": (lambda p: math.log(p / (1 - p)), lambda x: 1 / (1 + math.exp(-x)), lambda p: 1 / (p * (1 - p))),
    "ratio": (math.log1p, math.expm1, lambda gain: 1 / (1 + gain)),
    "number": (float, float, lambda _: 1.0),
}


def ends(estimate, error, scale):
    there, back, slope = SCALES[scale]
    if error is None or (scale == "share" and estimate in (0, 1)) or (scale == "ratio" and estimate == -1):
        return None, None
    half = reach(error, 0.95) * slope(estimate)
    return back(there(estimate) - half), back(there(estimate) + half)


def sign_flips(differences):
    signs = np.array(list(itertools.product((1, -1), repeat=len(differences))))
    least = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    return (np.abs(signs @ differences) >= least).mean()


def holm(p_values):
    adjusted, largest = {}, 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p))
        adjusted[name] = largest
    return adjusted


def open_reach(shares):
    """Half-width of the interval of the mean of (T,) independent values."""
    return t.ppf(0.975, len(shares) - 1) * shares.std(ddof=1) / math.sqrt(len(shares))


def over_classes(error, values, classes):
    """The error on other classes of (S, T) values of episodes; with one seed only its second part is known.

    None where a class is in every episode.
    """
    variance = jackknife(values.mean(axis=0), classes)
    if variance is None:
        return None
    own, shared, freedom, _ = error or (None, 0, None, None)
    return own, max(shared, variance), freedom, len(np.unique(classes)) - 1


def error_of_difference(differences, labels, classes, of_new_classes):
    error = crossed(differences, labels)
    if error is not None and of_new_classes:
        return None if classes is None else over_classes(error, differences, classes)
    return error


def one_sided_p(differences, labels, classes, of_new_classes):
    """Of a mean of (S, T) differences that is 0 or less; 1 where all are 0."""
    if not differences.any():
        return 1.0
    error = error_of_difference(differences, labels, classes, of_new_classes)
    if error is None:
        return None
    half = two_sided_p(abs(differences.mean()), *error) / 2
    return half if differences.mean() > 0 else 1 - half


def verdict(differences, labels, classes, of_new_classes):
    """What the 90 % interval of the mean of (S, T) differences says of a region of one point."""
    error = error_of_difference(differences, labels, classes, of_new_classes)
    if error is None:
        return None
    half = reach(error, 0.90)
    low, high = differences.mean() - half, differences.mean() + half
    if low > 0.01 or high < -0.01:
        return "gains" if low > 0.01 else "loses"
    return "no relevant difference" if low > -0.01 and high < 0.01 else "undecided"
