"""`run` and `evaluate`: train and test, then show the table."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from pydantic import Field

from sla_bench.cli.options import NO_EXECUTION, Execution, Settings, TrainingExecution
from sla_bench.cli.spanning import SEVERAL_VALUES, add_grids, announce
from sla_bench.cli.stores import records_of, say_set_apart
from sla_bench.errors import UserError
from sla_bench.grids.tuning import check_validated
from sla_bench.registry import LAUNCHERS, SCENARIOS, STAGE_TWO
from sla_bench.words import print_lines

run_app = App(
    name="run",
    help="Train, evaluate and show the table; recorded runs are skipped.",
    default_parameter=SEVERAL_VALUES,
)


class RunExecution(TrainingExecution):
    """Execution of the runs of a grid."""

    validate_only: bool = Field(
        False, description="train without a test and show the accuracies on validation data, best first"
    )


def evaluate(
    run_id: str,
    *,
    execution: Annotated[Execution, Parameter(name="*")] = NO_EXECUTION,
    ways: int | None = None,
    shots: int | None = None,
    queries: int | None = None,
    episodes: int | None = None,
    test_seed: int | None = None,
    test_dataset: str | None = None,
    stage_two: str | None = None,
    set_: Settings = None,
) -> int:
    """Evaluate a recorded run in another setting, without training.

    Parameters
    ----------
    run_id: str
        Name of a folder in results/<scenario>/runs/ (its beginning is enough), its path, or the path of its
        model.safetensors.
    ways: int
        Ways of a test episode.
    shots: int
        Support images per class.
    queries: int
        Query images per class.
    episodes: int
        Test episodes.
    test_seed: int
        Chooses the test episodes.
    test_dataset: str
        Data set of the test episodes of a few-shot run.
    stage_two: str
        Head to fit on the backbone of an imbalanced run: crt, tau-norm, lws, los, las or ncm.
    """
    from sla_bench.grids.tasks import evaluation_of
    from sla_bench.tables.run_list import find_run

    if (path := Path(run_id)).exists():
        folder = path.resolve() if path.is_dir() else path.resolve().parent
        run_id, execution = folder.name, execution.model_copy(update={"out": folder.parent.parent.parent})
    record = find_run(records_of(SCENARIOS, execution.out), run_id)
    _check_protocol(record)
    if stage_two is not None:
        STAGE_TWO.check(stage_two)
    changes = {
        "ways": ways,
        "shots": shots,
        "queries": queries,
        "episodes": episodes,
        "test_seed": test_seed,
        "test_dataset": test_dataset,
        "stage_two": stage_two,
    }
    task = evaluation_of(record.config, {k: v for k, v in changes.items() if v is not None}, set_ or [])
    announce([task], execution.data_root)
    as_for_training = TrainingExecution(**dict(execution))
    return prepare([task], record.config.scenario, as_for_training, retrain=record.run_id)()


def _check_protocol(record: Any) -> None:
    if (protocol := record.done["protocol"]) != (own := record.config.protocol):
        raise UserError(
            f"run {record.run_id} follows protocol {protocol}, this version protocol {own}; "
            "`run` trains it again"
        )


def prepare(
    tasks: Sequence[Any],
    scenario: str,
    execution: TrainingExecution,
    retrain: str | None = None,
) -> Callable[[], int]:
    """Check the data of some tasks.

    Args:
        tasks: of one scenario.
        scenario: its name.
        execution: how the tasks are executed.
        retrain: the id of a finished run; the only task must be a test of this run.

    Returns:
        A function that does the tasks that are not recorded, shows their rows, writes tables and plots, and
        returns the exit code.

    Raises:
        UserError: data are missing or damaged, or the run saw other data.
    """
    from sla_bench.data.named import dataset_named
    from sla_bench.records.jobs import make_jobs

    jobs = make_jobs(
        tasks,
        execution.data_root,
        execution.out,
        execution.device,
        keep_models=execution.keep_models == "all",
        checkpoint_seconds=execution.checkpoint_every,
    )
    if retrain is not None and jobs[0].run_id != retrain:
        place = dataset_named(jobs[0].run.dataset).where(execution.data_root)
        raise UserError(
            f"run {retrain} was trained on other data of {jobs[0].run.dataset} than {place} holds now; `run` "
            "trains on the present data"
        )
    return functools.partial(_run, jobs, scenario, execution)


def prepare_run(tasks: Sequence[Any], scenario: str, execution: RunExecution) -> Callable[[], int]:
    """Check the data of some tasks as `prepare`, with --validate-only the validation images, too.

    Raises:
        UserError: as `prepare`, or there are no validation images.
    """
    if not execution.validate_only:
        return prepare(tasks, scenario, execution)
    trained = [replace(task, evaluations=()) for task in tasks]
    for task in trained:
        check_validated(task.run)
    return prepare(trained, scenario, execution)


def _run(jobs: Sequence[Any], scenario: str, execution: TrainingExecution) -> int:
    from sla_bench.records.data_states import note_seen, on_data
    from sla_bench.records.store import Store
    from sla_bench.tables.levelling import validation_lines

    seen = {job.run.dataset: job.data_state for job in jobs}
    for job in jobs:
        tests = job.evaluations
        seen |= {
            on_data(job.run.dataset, tests[e].tested_elsewhere): s for e, (_, s) in job.other_tests.items()
        }
    store = Store(execution.out, scenario, execution.tables, seen)
    if execution.dry_run:
        from sla_bench.records.gpus import places_of
        from sla_bench.tables.dry_run import dry_run_lines

        if execution.launcher == "local":
            places_of(execution)
        for line in dry_run_lines(jobs, store, execution):
            print(line)
        say_set_apart([store.snapshot()])
        return 0
    failures = execute(jobs, store, execution)
    note_seen(store)
    if not any(job.evaluations for job in jobs):
        ids = {job.run_id for job in jobs}
        print_lines(validation_lines(record for record in store.records() if record.run_id in ids))
        return max((news.exit_code for news in failures), default=0)
    _report(store.snapshot(), [j.run_id for j in jobs], len(failures))
    return max((news.exit_code for news in failures), default=0)


def execute(jobs: Sequence[Any], store: Any, execution: TrainingExecution) -> list[Any]:
    """Do the jobs that are not recorded; return the news of the failed jobs.

    Raises:
        UserError: the results folder is not writable, or a library is missing for all jobs.
    """
    from sla_bench.records.files import check_writable, write_text
    from sla_bench.records.gpus import acceleration_of
    from sla_bench.records.jobs import delete_spent_checkpoints
    from sla_bench.records.launching import News
    from sla_bench.records.planning import plan
    from sla_bench.records.readiness import split_by_requirements
    from sla_bench.tables.row_key import BASELINE
    from sla_bench.tables.terminal import Board

    delete_spent_checkpoints(jobs)
    known = store.snapshot()
    open_jobs = [j for j in jobs if not j.is_recorded(known)]
    if len(open_jobs) < len(jobs):
        print(f"{len(jobs) - len(open_jobs)} of {len(jobs)} runs are recorded already")
    if not open_jobs:
        return []
    open_jobs, lacking = split_by_requirements(open_jobs, execution.elsewhere)
    if not open_jobs:
        raise UserError(next(iter(lacking)))
    failures = []
    for sentence, kept_back in lacking.items():
        print(sentence, file=sys.stderr)
        failures += [News(job, "failed", note=sentence, exit_code=2) for job in kept_back]
    launch = LAUNCHERS.load(execution.launcher)
    acceleration, sentence = acceleration_of(execution)
    if sentence:
        print(sentence, file=sys.stderr)
    planned = plan(open_jobs, known.records(), execution, acceleration).jobs
    check_writable(store.folder)
    shown = False
    with Board(len(open_jobs)) as board, closing(launch(planned, execution)) as all_news:
        for news in all_news:
            board.show(news)
            if news.kind == "failed":
                failures.append(news)
                if news.log:
                    path = store.folder / "logs" / f"{news.job.run_id}.log"
                    write_text(path, news.log)
                    board.console.print(f"log: {path}", soft_wrap=True, highlight=False)
            is_baseline = news.job.run.method == BASELINE and news.job.evaluations
            if news.kind == "done" and not shown and is_baseline and len(open_jobs) > 1:
                shown = True
                show_so_far(store, news.job.run_id)
    return failures


def show_so_far(store: Any, run_id: str) -> None:
    """Print the rows of a run; records without a table do not end the grid.

    Args:
        store: holds the run.
        run_id: of a finished run.
    """
    from sla_bench.tables.files import rows_of_runs
    from sla_bench.tables.row_cache import leaderboard_of
    from sla_bench.tables.terminal import print_table

    try:
        print_table(rows_of_runs(leaderboard_of(store), [run_id]), so_far=True)
    except UserError as error:
        print(f"no table so far: {error}", file=sys.stderr)


def _report(store: Any, run_ids: Sequence[str], failed: int) -> None:
    from sla_bench.tables.files import rows_of_runs, write_leaderboard, write_plots
    from sla_bench.tables.terminal import print_table

    table = write_leaderboard(store)
    rows = rows_of_runs(table, run_ids)
    if len(rows) or not failed:
        print_table(rows)
    paths = write_plots(store, table)
    if failed:
        others = f"; the tables in {store.folder}/ show the others" if len(rows) else ""
        print(f"{failed} of {len(run_ids)} runs failed{others}", file=sys.stderr)
    say_set_apart([store])
    if failed:
        return
    names = ", ".join(
        [
            "leaderboard.csv",
            "leaderboard.md",
            "leaderboard.tex",
            *sorted(p.name for p in paths if p.suffix == ".png"),
        ]
    )
    print(f"{store.tables}/: {names}")


add_grids(run_app, prepare_run, RunExecution)
