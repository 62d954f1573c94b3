"""The generalised (fiducial) distribution of an estimate's error."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import chi2

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

        def excess(reach: float) -> float:
            return self.p_value(self.standard_error * reach) - (1 - level)

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
    own_factors, own_weights = _variance_factors(own_freedom)
    shared_factors, shared_weights = _variance_factors(shared_freedom)
    own, shared = np.asarray(own)[..., None, None], np.asarray(shared)[..., None, None]
    deviations = np.sqrt(own * own_factors[:, None] + shared * shared_factors)
    tails: np.ndarray = ndtr(-np.abs(np.asarray(estimates))[..., None, None] / deviations)
    p: np.ndarray = np.minimum(1, 2 * np.einsum("...ij,i,j->...", tails, own_weights, shared_weights))
    return p


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
