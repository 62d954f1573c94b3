"""Times of several implementations, run in turn under the same disturbances."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np

Candidate = Callable[[], int]
"""Does some of the work and returns how much: episodes, batches, steps."""


def interleaved(
    candidates: Mapping[str, Candidate],
    rounds: int,
    seconds: float = 0.0,
    limit: float = math.inf,
    once: float = math.inf,
) -> dict[str, np.ndarray]:
    """Run the candidates in turn, in every other round in the opposite order.

    The first round warms up; it counts only for a candidate that is run once.

    Args:
        candidates: name -> what to time.
        rounds: how often each is timed.
        seconds: in a round a candidate is run again until so many have passed.
        limit: a candidate whose runs, without the first, have taken so many seconds in all is not run again.
        once: a candidate whose first run takes so many seconds is not run again.

    Returns:
        Name -> milliseconds per unit of work, one value per round, at least one.
    """
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    spent = dict.fromkeys(candidates, 0.0)
    for turn in range(rounds + 1):
        for name in sorted(candidates, reverse=turn % 2 == 1, key=list(candidates).index):
            if spent[name] >= limit:
                continue
            passed, done = _run(candidates[name], seconds)
            if turn:
                spent[name] += passed
            elif passed >= once:
                spent[name] = math.inf
            taken[name].append(1e3 * passed / done)
    return {name: np.array(values[1:] or values) for name, values in taken.items()}


def quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(low), float(median), float(high)


def _run(candidate: Candidate, seconds: float) -> tuple[float, int]:
    done, started = 0, time.perf_counter()
    while True:
        done += candidate()
        passed = time.perf_counter() - started
        if passed >= seconds:
            return passed, done
