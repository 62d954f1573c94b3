"""The test of sign flips over training seeds."""

from __future__ import annotations

import numpy as np

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
