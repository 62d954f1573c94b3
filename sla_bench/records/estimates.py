"""Training seconds of runs to do, judged by recorded runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sla_bench.config import RunConfig
from sla_bench.grids.tasks import form_of
from sla_bench.objectives.objective import Objective
from sla_bench.records.store import RunRecord
from sla_bench.registry import METHODS, TRANSFORMS

_SEEDS = {"seed", "subset_seed", "order_seed"}
_SHARED = 0.8
"""Part of a training that several threads share; the rest waits for one of them."""


def seconds_on(threads: int, seconds: float) -> float:
    """Seconds on several threads of what takes `seconds` on one (Amdahl's law)."""
    return seconds * (1 - _SHARED + _SHARED / threads)


@dataclass(frozen=True)
class Estimate:
    """Training seconds of runs to do, each on one thread.

    Args:
        seconds: of each run; None: nothing like it is recorded.
        records: recorded runs that they are based on.
    """

    seconds: tuple[float | None, ...]
    records: int

    @property
    def known(self) -> list[float]:
        """Seconds of the runs like which something is recorded."""
        return [one for one in self.seconds if one is not None]

    @property
    def unknown(self) -> int:
        """How many runs there are like which nothing is recorded."""
        return len(self.seconds) - len(self.known)


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
        alone = float(record.done["train_seconds"]) / seconds_on(record.done.get("threads", 1), 1.0)
        for key in _likeness(record.config):
            rates.setdefault(key, []).append((record.run_id, alone / images_of(record.config)))
    rate_of = {key: median(rate for _, rate in found) for key, found in rates.items()}
    seconds: list[float | None] = []
    used: set[str] = set()
    for run in runs:
        known = [key for key in _likeness(run) if key in rate_of]
        used.update(known[:1])
        seconds.append(rate_of[known[0]] * images_of(run) if known else None)
    based_on = {run_id for key in used for run_id, _ in rates[key]}
    return Estimate(tuple(seconds), len(based_on))


def relative_seconds(found: Estimate, runs: Sequence[RunConfig]) -> list[float]:
    """Seconds of the runs up to a common factor; images stand in where nothing is recorded.

    Args:
        found: the estimate of the runs.
        runs: to do, of one scenario.
    """
    images = [images_of(run) for run in runs]
    known = [(s, n) for s, n in zip(found.seconds, images, strict=True) if s is not None]
    rate = sum(s for s, _ in known) / sum(n for _, n in known) if known else 1.0
    return [n * rate if s is None else s for s, n in zip(found.seconds, images, strict=True)]


def images_of(run: RunConfig) -> float:
    """In proportion to the images through the backbone: all but the baseline see each image in M views."""
    views: int = TRANSFORMS.load(run.transform).num_views if run.transform else 1
    method: Objective = METHODS.load(run.method)
    return method.cost(views) * form_of(run.scenario).relative_images(run)


def _likeness(run: RunConfig) -> tuple[str, str, str]:
    """From like in everything but seeds to like in what an image costs."""
    content = {name: value for name, value in run if name not in _SEEDS}
    cost = form_of(run.scenario).same_cost
    like: dict[str, Any] = {n: content[n] for n in ("scenario", "dataset", "backbone", "precision", *cost)}
    pieces: dict[str, Any] = {n: content[n] for n in ("method", "learner", "loss") if n in content}
    return repr(content), repr({**like, **pieces}), repr(like)
