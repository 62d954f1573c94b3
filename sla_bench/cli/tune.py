"""`tune`: rate and batch of each method, chosen on validation data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from cyclopts import App
from pydantic import Field

from sla_bench.cli.options import TrainingExecution
from sla_bench.cli.run import execute, prepare
from sla_bench.cli.spanning import SEVERAL_VALUES, add_grids
from sla_bench.errors import UserError
from sla_bench.grids.tasks import Task
from sla_bench.grids.tuning import (
    SHARES,
    Choice,
    Trial,
    chosen_trial,
    finalists,
    group_of,
    trials_of,
    tuned_tasks,
)
from sla_bench.records.tuning_file import TrialRow, TuningFile

tune_app = App(
    name="tune",
    help="Choose each method's rate and batch on validation data, then run the grid with and without them.",
    default_parameter=SEVERAL_VALUES,
)


class TuningExecution(TrainingExecution):
    """Execution of trials and trainings."""

    trial_images: Literal["quarter", "eighth"] = Field(
        "quarter",
        description="part of a training's images that a trial sees; quarter: the best two are repeated at "
        "all images; eighth: without that round, for trainings of more than half an hour",
    )


Accuracies = dict[tuple[str, str], float | None]
"""(group, run id of a trial) -> its validation accuracy, 0 to 1; None: it diverged."""


def prepare_tuning(tasks: Sequence[Task], scenario: str, execution: TuningExecution) -> Callable[[], int]:
    """Check that some tasks can be tuned.

    Args:
        tasks: of one scenario, with the recipe's learning rate and batch.
        scenario: its name.
        execution: how the tasks are executed.

    Returns:
        A function that tries rates and batches for each method, chooses a pair, shows default and tuned rows,
        and returns the exit code.

    Raises:
        UserError: a rate or a batch is given, there are no validation images, or data are missing or
            damaged.
    """
    trials = trials_of(tasks, SHARES[execution.trial_images])
    jobs = _jobs_of(trials, execution)
    return functools.partial(_tune, tasks, trials, jobs, scenario, execution)


def _jobs_of(trials: Sequence[Trial], execution: TuningExecution) -> list[Any]:
    from sla_bench.records.jobs import make_jobs

    # Sorting by seed keeps the order of the trials, which share one seed.
    return make_jobs(
        [Task(trial.run, ()) for trial in trials],
        execution.data_root,
        execution.out / "tuning",
        execution.device,
        keep_models=False,
        checkpoint_seconds=execution.checkpoint_every,
    )


def _tune(
    tasks: Sequence[Task],
    trials: Sequence[Trial],
    jobs: Sequence[Any],
    scenario: str,
    execution: TuningExecution,
) -> int:
    """Try, choose, run.

    Raises:
        UserError: the results folder is not writable, or all trials of a method diverged.
    """
    from sla_bench.records.store import Store

    file, store = TuningFile(execution.out / scenario), Store(execution.out / "tuning", scenario)
    states = {job.data_state for job in jobs}
    known: Accuracies = file.accuracies()
    if execution.dry_run:
        return _dry_run(tasks, jobs, _unknown(trials, jobs, known), file.choices(states), execution)
    tried = dict(zip(trials, jobs, strict=True))
    try:
        if code := _execute(tried, store, known, execution):
            return code
        if execution.trial_images == "quarter":
            again = finalists(trials, _accuracies_of(tried, known))
            second = dict(zip(again, _jobs_of(again, execution), strict=True))
            tried |= second
            if code := _execute(second, store, known, execution):
                return code
    finally:
        # Trials are exported with this file alone: a tuning that is stopped continues elsewhere from it.
        _learn(tried, store, known)
        chosen = file.choices(states)
        if rows := [row for row in _rows(tried, known) if row.group not in chosen]:
            file.put(rows)
    rows = _judge(tried, known)
    file.put(rows)
    for row in rows:
        accuracy = row.validation_accuracy
        result = "diverged" if accuracy is None else f"validation {100 * accuracy:.1f} %"
        print(
            f"{row.training}: {row.share} of the images, learning rate {row.learning_rate:.3g}, "
            f"batch {row.batch_images}, {result}" + "  <- chosen" * row.chosen
        )
    print(f"trials: {file.path}")
    return prepare([*tasks, *tuned_tasks(tasks, file.choices(states))], scenario, execution)()


def _unknown(trials: Sequence[Trial], jobs: Sequence[Any], known: Accuracies) -> list[Any]:
    """The jobs that are missing in the tuning file, or whose records can be read."""
    # Groups that differ in how a training ends may have the same trial.
    found = {
        job.run_id: job
        for trial, job in zip(trials, jobs, strict=True)
        if (trial.group, job.run_id) not in known or job.is_recorded()
    }
    return list(found.values())


def _execute(tried: Mapping[Trial, Any], store: Any, known: Accuracies, execution: TuningExecution) -> int:
    """Run one round of trials and add their accuracies to the known ones; return the exit code.

    Diverged and imported trials have no record.

    Raises:
        UserError: the record of a trial can't be read.
    """
    failures = execute(_unknown(list(tried), list(tried.values()), known), store, execution)
    if lost := [news for news in failures if not news.diverged]:
        highest: int = max(news.exit_code for news in lost)
        return highest
    diverged = {news.job.run_id for news in failures}
    known.update({(trial.group, job.run_id): None for trial, job in tried.items() if job.run_id in diverged})
    _learn(tried, store, known)
    for trial, job in tried.items():
        if (trial.group, job.run_id) not in known:
            raise UserError(
                f"the record of trial {job.run_id} in {store.folder} can't be read; on a network it may "
                "come late: give the same command again"
            )
    return 0


def _learn(tried: Mapping[Trial, Any], store: Any, known: Accuracies) -> None:
    """Add the accuracies of recorded trials to the known ones."""
    from sla_bench.tables.levelling import validation_accuracy

    records = {record.run_id: record for record in store.records()}
    for trial, job in tried.items():
        if (record := records.get(job.run_id)) is not None:
            known[trial.group, job.run_id] = validation_accuracy(record.history, trial.takes_best)


def _accuracies_of(tried: Mapping[Trial, Any], known: Accuracies) -> dict[Trial, float]:
    """Accuracy of each trial, below 0 where it diverged."""
    found = {trial: known[trial.group, job.run_id] for trial, job in tried.items()}
    return {trial: -1.0 if accuracy is None else accuracy for trial, accuracy in found.items()}


def _judge(tried: Mapping[Trial, Any], known: Accuracies) -> list[TrialRow]:
    """The rows of the tuning file, each group's best marked.

    Raises:
        UserError: all trials of a group diverged.
    """
    accuracies = _accuracies_of(tried, known)
    groups: dict[str, list[Trial]] = {}
    for trial in tried:
        groups.setdefault(trial.group, []).append(trial)
    chosen = set()
    for trials in groups.values():
        if max(accuracies[trial] for trial in trials) < 0:
            raise UserError(f"{_words(trials[0])}: every trial diverged; nothing is chosen")
        chosen.add(chosen_trial(trials, accuracies))
    return _rows(tried, known, chosen)


def _rows(
    tried: Mapping[Trial, Any], known: Accuracies, chosen: Collection[Trial] = frozenset()
) -> list[TrialRow]:
    """The rows of the trials that are known, group by group."""
    first = {trial.group: place for place, trial in reversed(list(enumerate(tried)))}
    return [
        TrialRow(
            group=trial.group,
            training=_words(trial),
            share=str(trial.share),
            factor=str(trial.factor),
            validation_accuracy=known[trial.group, job.run_id],
            run_id=job.run_id,
            chosen=trial in chosen,
            data_state=job.data_state,
            **trial.choice._asdict(),
        )
        for trial, job in sorted(tried.items(), key=lambda one: first[one[0].group])
        if (trial.group, job.run_id) in known
    ]


def _words(trial: Trial) -> str:
    from sla_bench.tables.terminal import label

    return label(trial.run.model_copy(update={"batch_images": None}))


def _dry_run(
    tasks: Sequence[Task],
    jobs: Sequence[Any],
    open_jobs: Sequence[Any],
    choices: Mapping[str, Choice],
    execution: TuningExecution,
) -> int:
    """List the runs, tuned runs as far as they are chosen, with an estimate for all of them."""
    from sla_bench.records.jobs import make_jobs
    from sla_bench.tables.dry_run import dry_run_lines

    are_chosen = all(group_of(task.run) in choices for task in tasks)
    left = sum(not job.is_recorded() for job in open_jobs)
    second = ", and the best two of each method at all images" * (execution.trial_images == "quarter")
    further = (
        "" if are_chosen else f"{second}; then the runs below, and as many again where others are better"
    )
    print(f"{len(jobs)} trials, {left} of them to run{further or '; then the runs below'}:")
    wanted = [*tasks, *tuned_tasks(tasks, choices)]
    runs = make_jobs(wanted, execution.data_root, execution.out, execution.device)
    for line in dry_run_lines(runs, runs[0].store, execution, open_jobs):
        print(line)
    return 0


add_grids(tune_app, prepare_tuning, TuningExecution)
