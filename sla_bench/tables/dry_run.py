"""A dry run: what would run, and how long it would take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sla_bench.config import columns
from sla_bench.grids.asked import asked_of
from sla_bench.records.gpus import places_of
from sla_bench.records.jobs import Job
from sla_bench.records.launch_options import Launch
from sla_bench.records.planning import Plan, known_workers, plan, room_of
from sla_bench.records.store import Store
from sla_bench.tables.terminal import label

_RECORDED, _EVALUATE, _RUN = "recorded", "to evaluate", "to run"


def dry_run_lines(
    jobs: Sequence[Job], store: Store, settings: Launch, trials: Sequence[Job] = ()
) -> Iterator[str]:
    """Yield a line for each run with its state, then how many there are and an estimate of the time.

    Args:
        jobs: of one scenario.
        store: its records.
        settings: runs at a time, and their threads.
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
            to_run.append(job)
        yield ", ".join([f"{job.run_id}  {state:11}  {label(job.run)}", *(detail[k] for k in varying)])
    yield f"{len(jobs):,} runs: " + ", ".join(f"{n:,} {state}" for state, n in counts.items() if n)
    open_trials = [trial for trial in trials if not trial.is_recorded()]
    if to_run or open_trials:
        tried = trials[0].store.records() if trials else []
        planned = plan([*open_trials, *to_run], [*store.records(), *tried], settings)
        yield words(planned, settings, with_trials=bool(open_trials))


def _details(job: Job) -> tuple[str, ...]:
    """What the label of a run does not say; shown where it differs between the runs of a command."""
    asked = [asked_of(job.run, test) for test in job.evaluations.values() or (None,)]
    settings = " + ".join(dict.fromkeys(one.words() for one in asked))
    told = (f"{name} {asked[0].columns[name]}" for name in columns())
    return (settings, job.run.backbone, *told, f"budget {asked[0].label()}")


def words(planned: Plan, settings: Launch, with_trials: bool = False) -> str:
    """The estimate as a sentence.

    Args:
        planned: the jobs and their estimate.
        settings: runs at a time.
        with_trials: trials of learning rates are among the jobs.
    """
    found, workers = planned.estimate, known_workers(settings)
    if not found.known:
        return "no comparable runs are recorded, so the time can't be estimated"
    on = "on 1 worker" if workers == 1 else f"on {workers} workers" if workers else "of one worker"
    places = places_of(settings) if settings.launcher == "local" else []
    seconds = planned.wall_seconds(room_of(settings, places)) if workers else sum(found.known)
    text = (
        f"training{', with the trials,' if with_trials else ''} takes about {duration(seconds)} {on}, judged "
        f"by {_runs(found.records, 'recorded')}"
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
