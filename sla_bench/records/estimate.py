"""Estimates the time of open runs from recorded ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from sla_bench.config import RunConfig
from sla_bench.grids.tasks import form_of
from sla_bench.records.store import RunRecord
from sla_bench.registry import METHODS, TRANSFORMS

_SEEDS = {"seed", "subset_seed", "order_seed"}


@dataclass(frozen=True)
class Estimate:
    """Training seconds of runs to do.

    Args:
        seconds: sum over the runs of which something is known.
        longest: of one of them.
        known: how many these are.
        unknown: runs like which nothing is recorded.
        records: recorded runs that it is based on.
    """

    seconds: float
    longest: float
    known: int
    unknown: int
    records: int

    def wall_seconds(self, workers: int) -> float:
        """Time on so many workers; no less than the longest run."""
        return max(self.seconds / workers, self.longest)


def estimate(runs: Iterable[RunConfig], records: Iterable[RunRecord]) -> Estimate:
    """Judge each run by the recorded runs that are most like it.

    These are the runs that differ in seeds only; where there are none, those of the same data set, pieces and
    precision; then those of any method and head or loss. The run is given their median of seconds per image,
    times its own images (`Form.relative_images`). Evaluations are not in it.

    Args:
        runs: trainings to do.
        records: of the same scenario.
    """
    rates: dict[str, list[tuple[str, float]]] = {}
    for record in records:
        rate = float(record.done["train_seconds"]) / _images(record.config)
        for key in _likeness(record.config):
            rates.setdefault(key, []).append((record.run_id, rate))
    rate_of = {key: median(rate for _, rate in found) for key, found in rates.items()}
    seconds: list[float] = []
    unknown = 0
    used: set[str] = set()
    for run in runs:
        known = [key for key in _likeness(run) if key in rate_of]
        unknown += not known
        for key in known[:1]:
            used.add(key)
            seconds.append(rate_of[key] * _images(run))
    based_on = {run_id for key in used for run_id, _ in rates[key]}
    return Estimate(sum(seconds), max(seconds, default=0.0), len(seconds), unknown, len(based_on))


def _images(run: RunConfig) -> float:
    """In proportion to the images through the backbone: all but the baseline see each image in M views."""
    views = TRANSFORMS[run.transform].num_views if run.transform else 1
    per_image = views if METHODS.load(run.method).depends_on_transform else 1
    return per_image * form_of(run.scenario).relative_images(run)


def _likeness(run: RunConfig) -> tuple[str, str, str]:
    """From like in everything but seeds to like in what an image costs."""
    content = run.model_dump(exclude=_SEEDS)
    cost = form_of(run.scenario).same_cost
    like: dict[str, Any] = {
        n: content[n] for n in ("scenario", "dataset", "backbone", "precision", "threads", *cost)
    }
    pieces: dict[str, Any] = {n: content[n] for n in ("method", "learner", "loss") if n in content}
    return repr(content), repr({**like, **pieces}), repr(like)
