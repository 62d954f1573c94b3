"""Limits of axes that one wide interval cannot flatten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def padded(values: np.ndarray) -> tuple[float, float]:
    """Least and largest of values of any shape, NaN left out, with a margin."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * max(high - low, 1.0)
    return low - margin, high + margin


def interval_limits(values: np.ndarray, held: Sequence[float] = ()) -> tuple[float, float]:
    """Limits of an axis that hold all values, and intervals as far as the span of the values beyond them.

    Args:
        values: (n, 3) value, low, high.
        held: further places that the axis holds.
    """
    centres = np.append(values[:, 0], held)
    reach = max(np.ptp(centres), 1.0)
    low, high = centres.min() - reach, centres.max() + reach
    return padded(np.append(np.clip(values[:, 1:], low, high), centres))


def gain_limits(values: np.ndarray, averaged: np.ndarray) -> tuple[float, float]:
    """Limits of an axis for zero and all gains but those of rows with +TTA that would flatten the others.

    Args:
        values: (n, 3) relative gain in %, low, high.
        averaged: (n,) True where method or reference is a mean over views or crops.
    """
    if averaged.all():
        return interval_limits(values, [0.0])
    centres = np.append(values[~averaged, 0], 0.0)
    reach = np.ptp(centres) / 2
    far = (values[:, 0] < centres.min() - reach) | (values[:, 0] > centres.max() + reach)
    return interval_limits(values[~(averaged & far)], [0.0])
