"""Many gains at once: p-values adjusted over a family, and summaries."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sla_bench.errors import UserError


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
