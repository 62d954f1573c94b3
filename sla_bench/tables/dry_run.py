"""A dry run: what would run, and how long it would take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sla_bench.config import RunConfig, columns
from sla_bench.grids.asked import asked_of
from sla_bench.grids.tasks import form_of
from sla_bench.objectives.objective import Objective
from sla_bench.records.jobs import Job
from sla_bench.records.store import RunRecord, Store
from sla_bench.registry import METHODS, TRANSFORMS
from sla_bench.tables.terminal import label

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
    """In proportion to the images through the backbone."""
    views: int = TRANSFORMS.load(run.transform).num_views if run.transform else 1
    method: Objective = METHODS.load(run.method)
    return method.cost(views) * form_of(run.scenario).relative_images(run)


def _likeness(run: RunConfig) -> tuple[str, str, str]:
    """From like in everything but seeds to like in what an image costs."""
    content = run.model_dump(exclude=_SEEDS)
    cost = form_of(run.scenario).same_cost
    like: dict[str, Any] = {
        n: content[n] for n in ("scenario", "dataset", "backbone", "precision", "threads", *cost)
    }
    pieces: dict[str, Any] = {n: content[n] for n in ("method", "learner", "loss") if n in content}
    return repr(content), repr({**like, **pieces}), repr(like)


_RECORDED, _EVALUATE, _RUN = "recorded", "to evaluate", "to run"


def dry_run_lines(
    jobs: Sequence[Job], store: Store, workers: int | None, trials: Sequence[Job] = ()
) -> Iterator[str]:
    """Yield a line for each run with its state, then how many there are and an estimate of the time.

    Args:
        jobs: of one scenario.
        store: its records.
        workers: runs at a time; None where that is not known.
        trials: of learning rates, of the same scenario, in a store of their own; they have no line, and those
            that are to run are in the estimate.
    """
    store = store.snapshot()
    details = [_details(job) for job in jobs]
    varying = [place for place, values in enumerate(zip(*details, strict=True)) if len(set(values)) > 1]
    counts = dict.fromkeys((_RECORDED, _EVALUATE, _RUN), 0)
    to_run = []
    for job, detail in zip(jobs, details, strict=True):
        trained = store.has_run(job.run_id)
        state = _RUN if not trained else _EVALUATE if job.open_evaluations(store) else _RECORDED
        counts[state] += 1
        if state == _RUN:
            to_run.append(job.run)
        yield ", ".join([f"{job.run_id}  {state:11}  {label(job.run)}", *(detail[k] for k in varying)])
    yield f"{len(jobs):,} runs: " + ", ".join(f"{n:,} {state}" for state, n in counts.items() if n)
    open_trials = [trial.run for trial in trials if not trial.is_recorded()]
    if to_run or open_trials:
        tried = trials[0].store.records() if trials else []
        found = estimate([*open_trials, *to_run], [*store.records(), *tried])
        yield words(found, workers, with_trials=bool(open_trials))


def _details(job: Job) -> tuple[str, ...]:
    """What the label of a run does not say; shown where it differs between the runs of a command."""
    asked = [asked_of(job.run, test) for test in job.evaluations.values() or (None,)]
    settings = " + ".join(dict.fromkeys(one.words() for one in asked))
    told = (f"{name} {asked[0].columns[name]}" for name in columns())
    return (settings, job.run.backbone, *told, f"budget {asked[0].label()}")


def words(found: Estimate, workers: int | None, with_trials: bool = False) -> str:
    """The estimate as a sentence.

    Args:
        found: the estimate.
        workers: runs at a time; None where that is not known.
        with_trials: trials of learning rates are in it.
    """
    if not found.known:
        return "no comparable runs are recorded, so the time can't be estimated"
    on = "on 1 worker" if workers == 1 else f"on {workers} workers" if workers else "of one worker"
    text = (
        f"training{', with the trials,' if with_trials else ''} takes about "
        f"{duration(found.wall_seconds(workers or 1))} {on}, judged by "
        f"{_runs(found.records, 'recorded')}"
    )
    return f"{text}; {_runs(found.unknown, 'other')} can't be estimated" if found.unknown else text


def duration(seconds: float) -> str:
    """As in "45 s", "12 min", "3.5 h", "2.1 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _runs(count: int, kind: str) -> str:
    return f"{count:,} {kind} run{'s' * (count != 1)}"
