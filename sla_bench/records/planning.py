"""Seconds, order and threads of jobs, before the first starts."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from sla_bench.config import Acceleration, RunConfig
from sla_bench.grids.tasks import form_of
from sla_bench.objectives.objective import Objective
from sla_bench.records.cores import most_threads, usable_cores
from sla_bench.records.gpus import Place, places_of, uses_gpus
from sla_bench.records.in_progress import Way, way_of_checkpoints
from sla_bench.records.jobs import Job
from sla_bench.records.launch_options import Launch
from sla_bench.records.record_files import recorded_threads
from sla_bench.records.store import RunRecord
from sla_bench.registry import METHODS, TRANSFORMS

_MOST_THREADS = 4
"""Of a run that is told none: more have not been measured."""
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
    """In proportion to the images that pass through the backbone in training."""
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


@dataclass(frozen=True)
class Room:
    """The cores of a machine that runs share, and how many runs may be worked on at a time."""

    cores: int
    runs: int

    def holds(self, threads: int, busy: Sequence[int]) -> bool:
        """Say whether a run on so many threads may start beside the busy ones; an only run always may.

        Args:
            threads: of the run.
            busy: threads of each run that is worked on.
        """
        return not busy or (len(busy) < self.runs and sum(busy) + threads <= self.cores)


def room_of(settings: Launch, places: Sequence[Place] = ()) -> Room:
    """The room on this machine: for as many runs as told, or for one on each `--threads` cores.

    Args:
        settings: threads and runs at a time.
        places: on GPUs; none where runs are done on CPUs.
    """
    cores, threads = usable_cores(), settings.threads or 1
    if places:
        return Room(max(cores, len(places) * threads), len(places))
    runs = settings.workers or max(1, cores // threads)
    return Room(max(cores, runs * threads), runs)


def known_workers(settings: Launch) -> int | None:
    """How many runs will be worked on at a time; None where a cluster says so, which is not asked here."""
    if settings.launcher != "local":
        return settings.workers
    return room_of(settings, places_of(settings)).runs


def wall_seconds(work: Iterable[tuple[float, int]], room: Room) -> tuple[float, int]:
    """Simulate a launcher, which starts each piece of work, in this order, as soon as there is room.

    Args:
        work: seconds on one thread, and threads, of each piece.
        room: that they share.

    Returns:
        Seconds until all is done, and the place of the piece that ends last (-1: there is none).
    """
    now, ends = 0.0, (0.0, -1)
    busy: list[tuple[float, int]] = []
    for place, (seconds, threads) in enumerate(work):
        while not room.holds(threads, [own for _, own in busy]):
            now, _ = heapq.heappop(busy)
        end = now + seconds_on(threads, seconds)
        heapq.heappush(busy, (end, threads))
        ends = max(ends, (end, place))
    return ends


@dataclass(frozen=True)
class Plan:
    """Jobs in the order in which they start, with their threads, and an estimate of each."""

    jobs: list[Job]
    estimate: Estimate

    def wall_seconds(self, room: Room) -> float:
        """Seconds of the jobs of which something is known."""
        pairs = zip(self.estimate.seconds, self.jobs, strict=True)
        return wall_seconds([(s, job.threads) for s, job in pairs if s is not None], room)[0]


def plan(
    jobs: Sequence[Job],
    records: Iterable[RunRecord],
    settings: Launch,
    acceleration: Acceleration = "eager",
) -> Plan:
    """Let the longest jobs of each seed start first, on threads that end the whole as early as possible.

    A job on several threads waits until so many cores are free. A training that has begun, and a test of a
    finished one, keep their threads, so that the same bits come of them; the former also how its backbone is
    run.

    Args:
        jobs: of one scenario, sorted by seed.
        records: of the same scenario.
        settings: threads and runs at a time; OMP_NUM_THREADS bounds threads that are not told. Where another
            machine's cluster does the jobs, its cores are not known, and each gets one thread, as on a GPU.
        acceleration: of jobs that have not begun.
    """
    records = list(records)
    found = estimate([job.run for job in jobs], records)
    costs = relative_seconds(found, [job.run for job in jobs])
    # Complete seeds come first where a grid is stopped.
    order = sorted(range(len(jobs)), key=lambda k: (jobs[k].run.seed, -costs[k]))
    jobs, costs = [jobs[k] for k in order], [costs[k] for k in order]
    trained = {record.run_id for record in records}
    kept = [_kept_way(job, job.run_id in trained) for job in jobs]
    threads = [own.threads if own else settings.threads or 1 for own in kept]
    room, on_cpus = room_of(settings), not settings.elsewhere and not uses_gpus(settings)
    if settings.threads is None and on_cpus and room.cores == usable_cores():
        threads = _widened(costs, threads, [own is None for own in kept], room)
    planned = [
        replace(job, threads=count, acceleration=own.acceleration if own else acceleration)
        for job, count, own in zip(jobs, threads, kept, strict=True)
    ]
    return Plan(planned, Estimate(tuple(found.seconds[k] for k in order), found.records))


def _kept_way(job: Job, trained: bool) -> Way | None:
    store = job.store
    if trained:
        return Way(threads=recorded_threads(store.run_folder(job.run_id)))
    return way_of_checkpoints(store.checkpoint_folder(job.run_id))


def _widened(costs: Sequence[float], threads: list[int], free: Sequence[bool], room: Room) -> list[int]:
    """Give the job that ends last one more thread, as long as the whole does not end later for it."""
    most = min(room.cores, most_threads() or room.cores, _MOST_THREADS)
    end, last = wall_seconds(zip(costs, threads, strict=True), room)
    earliest, best = end, threads
    while last >= 0 and free[last] and threads[last] < most:
        threads = [own + (place == last) for place, own in enumerate(threads)]
        then, last = wall_seconds(zip(costs, threads, strict=True), room)
        if then > end:
            break
        end = then
        # Where several end last, all of them have to be widened before anything is gained.
        if end < earliest:
            earliest, best = end, threads
    return best
