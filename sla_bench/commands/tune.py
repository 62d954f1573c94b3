"""`tune`: the learning rate of each method, chosen on validation data; then the grid with and without it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cyclopts import App

from sla_bench.commands.options import TrainingExecution
from sla_bench.commands.run import execute, prepare
from sla_bench.commands.spanning import SEVERAL_VALUES, add_grids
from sla_bench.errors import UserError
from sla_bench.grid import Task
from sla_bench.tuning import Trial, chosen_factor, group_of, trials_of, tuned_tasks

tune_app = App(
    name="tune",
    help="Choose each method's learning rate on validation data, then run the grid with and without it.",
    default_parameter=SEVERAL_VALUES,
)


def prepare_tuning(
    tasks: Sequence[Task], scenario: str, execution: TrainingExecution, hint: bool = False
) -> Callable[[], int]:
    """Make sure that some tasks can be tuned.

    Args:
        tasks: of one scenario, with the recipe's learning rate.
        scenario: its name.
        execution: how.
        hint: unused; the tables of a tuned grid speak for themselves.

    Returns:
        What tries three learning rates for each method, chooses one, shows default and tuned rows, and
        returns the exit code.

    Raises:
        UserError: a learning rate is given, there is nothing to validate on, or data are missing or damaged.
    """
    from sla_bench.harness.jobs import make_jobs

    del hint
    trials = trials_of(tasks)
    jobs = make_jobs(
        [Task(trial.run, ()) for trial in trials],
        execution.data_root,
        execution.out / "tuning",
        execution.device,
        keep_models=False,
        checkpoint_seconds=execution.checkpoint_every,
    )
    return functools.partial(_tune, tasks, trials, jobs, scenario, execution)


def _tune(
    tasks: Sequence[Task],
    trials: Sequence[Trial],
    jobs: Sequence[Any],
    scenario: str,
    execution: TrainingExecution,
) -> int:
    """Try, choose, run.

    Raises:
        UserError: nothing can be written, or all trials of a method diverged.
    """
    from sla_bench.harness.store import Store
    from sla_bench.harness.tuning_file import TuningFile

    file, store = TuningFile(execution.out / scenario), Store(execution.out / "tuning", scenario)
    states = {job.data_state for job in jobs}
    # Trials that diverged have no record, nor have those that were imported.
    known = file.accuracies()
    keys = [(trial.group, job.run_id) for trial, job in zip(trials, jobs, strict=True)]
    # Groups that differ in how a training ends may have the same trial.
    unknown = {
        job.run_id: job for key, job in zip(keys, jobs, strict=True) if key not in known or job.is_recorded()
    }
    open_jobs = list(unknown.values())
    if execution.dry_run:
        return _dry_run(tasks, jobs, open_jobs, file.rates(states), execution)
    failures = execute(open_jobs, store, execution)
    if lost := [news for news in failures if not news.diverged]:
        highest: int = max(news.exit_code for news in lost)
        return highest
    diverged = {news.job.run_id for news in failures}
    known |= {key: None for key in keys if key[1] in diverged}
    rows = _judge(trials, jobs, store, known)
    file.put(rows)
    for row in rows:
        accuracy = row["validation_accuracy"]
        result = "diverged" if accuracy is None else f"validation {100 * accuracy:.1f} %"
        print(
            f"{row['training']}: learning rate {row['learning_rate']:.3g}, {result}"
            + "  <- chosen" * row["chosen"]
        )
    print(f"trials: {file.path}")
    return prepare([*tasks, *tuned_tasks(tasks, file.rates(states))], scenario, execution)()


def _dry_run(
    tasks: Sequence[Task],
    jobs: Sequence[Any],
    open_jobs: Sequence[Any],
    rates: Mapping[str, float],
    execution: TrainingExecution,
) -> int:
    """List what would run, the tuned runs as far as their rates are chosen; the estimate is of all of it."""
    from sla_bench.harness.jobs import make_jobs
    from sla_bench.harness.launching import known_workers
    from sla_bench.reporting.dry_run import dry_run_lines

    are_chosen = all(group_of(task.run) in rates for task in tasks)
    _say_what_is_open(jobs, open_jobs, are_chosen)
    wanted = [*tasks, *tuned_tasks(tasks, rates)]
    runs = make_jobs(wanted, execution.data_root, execution.out, execution.device)
    for line in dry_run_lines(runs, runs[0].store, known_workers(runs, execution), open_jobs):
        print(line)
    return 0


def _say_what_is_open(jobs: Sequence[Any], open_jobs: Sequence[Any], are_chosen: bool) -> None:
    left = sum(not job.is_recorded() for job in open_jobs)
    further = "" if are_chosen else ", and as many again where another rate is better"
    print(f"{len(jobs)} trials, {left} of them to run; then the runs below{further}:")


def _judge(
    trials: Sequence[Trial],
    jobs: Iterable[Any],
    store: Any,
    known: Mapping[tuple[str, str], float | None],
) -> list[dict[str, Any]]:
    """The rows of the tuning file, each group's best marked; what is not recorded may be known from it.

    Raises:
        UserError: all trials of a group diverged, or the record of another can't be read.
    """
    from sla_bench.reporting.terminal import label

    records = {record.run_id: record for record in store.records()}
    accuracies: dict[str, dict[Any, float]] = {}
    rows: list[dict[str, Any]] = []
    for trial, job in zip(trials, jobs, strict=True):
        run_id = job.run_id
        record = records.get(run_id)
        if record is not None:
            accuracy: float | None = validation_accuracy(record.history, trial.takes_best)
        elif (trial.group, run_id) in known:
            accuracy = known[trial.group, run_id]
        else:
            raise UserError(
                f"the record of trial {run_id} in {store.folder} can't be read; on a network it may "
                "come late: give the same command again"
            )
        accuracies.setdefault(trial.group, {})[trial.factor] = -1.0 if accuracy is None else accuracy
        rows.append(
            {
                "group": trial.group,
                "training": label(trial.run),
                "factor": trial.factor,
                "learning_rate": trial.run.learning_rate,
                "validation_accuracy": accuracy,
                "run_id": run_id,
                "data_state": job.data_state,
            }
        )
    for row in rows:
        if max(accuracies[row["group"]].values()) < 0:
            raise UserError(f"{row['training']}: every learning rate diverged; nothing is chosen")
    chosen = {group: chosen_factor(found) for group, found in accuracies.items()}
    return [{**row, "chosen": row["factor"] == chosen[row["group"]]} for row in rows]


def validation_accuracy(history: Any, takes_best: bool) -> float:
    """Mean over the members of a run of their best, or else last, validation accuracy, in 0..1.

    Args:
        history: data frame with the columns member, step and val_accuracy.
        takes_best: best instead of last.
    """
    members = history.sort_values("step").groupby("member")["val_accuracy"]
    return float((members.max() if takes_best else members.last()).mean())


add_grids(tune_app, prepare_tuning)
