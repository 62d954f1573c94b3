"""The command line: options straight from the config models, errors in one line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from sla_bench.config import as_user_error
from sla_bench.datasets.named import default_data_root
from sla_bench.errors import UserError
from sla_bench.grid import form_of, options_model, span
from sla_bench.harness.launch_options import Launch
from sla_bench.registry import LAUNCHERS, SCENARIOS

app = App(
    name="sla-bench",
    help="How much does self-supervised label augmentation (SLA) gain over a baseline?",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(
        negative=(),
        show_default=lambda value: ", ".join(map(str, value)) if isinstance(value, list) else value,
    ),
)
run_app = App(
    name="run", help="Train, evaluate and show the table; what is recorded already is not done again."
)
datasets_app = App(name="datasets", help="What data sets there are, what is on disk, how to get the rest.")
app.command(run_app)
app.command(datasets_app)


class Terminated(BaseException):
    """SIGTERM arrived."""


class Folders(BaseModel):
    """Where things lie."""

    model_config = ConfigDict(frozen=True)
    data_root: Path = Field(
        default_factory=default_data_root,
        description="data files; default: $SLA_BENCH_DATA or datasets/",
    )
    out: Path = Field(Path("results"), description="records, leaderboard, plots")


class Execution(Folders, Launch):
    """How the runs are executed; it changes no result."""

    keep_models: Literal["all", "none"] = Field(
        "all", description="none: weights are not written, and runs can't be evaluated again"
    )
    checkpoint_every: float = Field(
        60.0, ge=0, description="seconds between checkpoints, from which a killed run goes on"
    )
    dry_run: bool = Field(False, description="only list the runs and which are recorded")


Settings = Annotated[list[str] | None, Parameter(name="--set", help="key=value: any field of the config")]
NO_EXECUTION = Execution()
NO_FOLDERS = Folders()


def _add_scenario(name: str) -> None:
    form = form_of(name)
    options_type = options_model(form)
    no_options = options_type()

    def run_scenario(
        *,
        options: Any = no_options,
        execution: Execution = NO_EXECUTION,
        controls: bool = False,
        set_: list[str] | None = None,
    ) -> int:
        values: dict[str, Any] = options.model_dump()
        if controls:
            values["method"] = [*values["method"], "controls"]
        return _run(span(form, values, set_ or []), name, execution, hint=not controls)

    run_scenario.__doc__ = f"""{SCENARIOS[name].summary}

    Parameters
    ----------
    controls: bool
        Add the controls to the methods: is it SLA, or more of something?
    """
    # The type of the options is made at run time, so the signature can't name it.
    run_scenario.__annotations__ = {
        "options": Annotated[options_type, Parameter(name="*")],
        "execution": Annotated[Execution, Parameter(name="*")],
        "controls": bool,
        "set_": Settings,
        "return": int,
    }
    run_app.command(run_scenario, name=name)


for _scenario in SCENARIOS:
    _add_scenario(_scenario)


@run_app.default
def run_file(
    file: Path | None = None,
    *,
    execution: Annotated[Execution, Parameter(name="*")] = NO_EXECUTION,
    yes: bool = False,
) -> int:
    """Train, evaluate and show the table; what is recorded already is not done again.

    Parameters
    ----------
    file: Path
        A grid file, see docs/grids.md; or one of the scenarios below with its options.
    yes: bool
        Don't ask before a grid of more than 10,000 runs.
    """
    from sla_bench.grid_files import tasks_of_file

    if file is None:
        run_app.help_print()
        return 0
    tasks = tasks_of_file(file, yes, elsewhere=(*Execution.model_fields, "yes"))
    return max(_run(of_one, scenario, execution, hint=False) for scenario, of_one in tasks.items())


@app.command
def export(
    file: Path,
    *,
    scenario: list[str] | None = None,
    folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS,
) -> int:
    """Write the records, without weights, to one compact file, so that a grid can go on elsewhere.

    Parameters
    ----------
    file: Path
        The archive, `NAME.zip`.
    scenario: list[str]
        Only these; default: each that has records.
    """
    from sla_bench.harness.exchange import export_records

    names: list[str | None] = list(dict.fromkeys(scenario)) if scenario else [None]
    stores = [store for name in names for store in _stores(name, folders)]
    written = export_records(stores, file)
    print(f"{file}: {written.runs} runs, {written.evaluations} evaluations, {file.stat().st_size:,} bytes")
    for folder in (f for store in stores for f in store.damaged()):
        print(f"passed over, can't be read: {folder}", file=sys.stderr)
    return 0


@app.command(name="import")
def import_(file: Path, *, folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS) -> int:
    """Add the records of an archive that are not here yet; `leaderboard` then shows them.

    Parameters
    ----------
    file: Path
        As `export` wrote it.
    """
    from sla_bench.harness.exchange import import_records

    added = import_records(file, folders.out)
    print(
        f"added {added.runs} runs and {added.evaluations} evaluations to {folders.out}; "
        f"{added.there} runs were there already"
    )
    return 0


@app.command
def evaluate(
    run_id: str,
    *,
    execution: Annotated[Execution, Parameter(name="*")] = NO_EXECUTION,
    ways: int | None = None,
    shots: int | None = None,
    queries: int | None = None,
    episodes: int | None = None,
    test_seed: int | None = None,
    set_: Settings = None,
) -> int:
    """Evaluate a finished training again, in any setting; nothing is trained.

    Parameters
    ----------
    run_id: str
        Name of a folder in results/<scenario>/runs/ (its beginning is enough).
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
    """
    from sla_bench.grid import evaluation_of
    from sla_bench.harness.store import Store

    stores = [Store(execution.out, scenario) for scenario in SCENARIOS]
    found = [r for store in stores for r in store.records() if r.run_id.startswith(run_id)]
    if len(found) != 1:
        many = "several runs begin" if found else "no finished run begins"
        raise UserError(f"{many} with {run_id!r} in {execution.out}/*/runs")
    changes = {"ways": ways, "shots": shots, "queries": queries, "episodes": episodes, "test_seed": test_seed}
    task = evaluation_of(found[0].config, {k: v for k, v in changes.items() if v is not None}, set_ or [])
    return _run([task], found[0].config.scenario, execution, hint=False, retrain=found[0].run_id)


def _run(
    tasks: Sequence[Any], scenario: str, execution: Execution, hint: bool, retrain: str | None = None
) -> int:
    from sla_bench.harness.jobs import make_jobs
    from sla_bench.harness.store import Store

    store = Store(execution.out, scenario)
    jobs = make_jobs(
        tasks,
        execution.data_root,
        execution.out,
        execution.device,
        keep_models=execution.keep_models == "all",
        checkpoint_seconds=execution.checkpoint_every,
    )
    if retrain is not None and jobs[0].run_id != retrain:
        raise UserError(f"run {retrain} was trained on other data than {execution.data_root} holds")
    if execution.dry_run:
        from sla_bench.harness.launching import runs_at_a_time
        from sla_bench.reporting.dry_run import dry_run_lines

        for line in dry_run_lines(jobs, store, runs_at_a_time(jobs, execution)):
            print(line)
        return 0
    code = _execute(jobs, store, execution)
    _report(store, [j.run_id for j in jobs], hint)
    return code


def _execute(jobs: Sequence[Any], store: Any, execution: Execution) -> int:
    from sla_bench.harness.environment import has_bf16_instructions
    from sla_bench.harness.files import check_writable, write_text
    from sla_bench.reporting.figure_cache import leaderboard_of
    from sla_bench.reporting.files import rows_of_runs
    from sla_bench.reporting.leaderboard import BASELINE
    from sla_bench.reporting.terminal import Board, print_table

    open_jobs = [j for j in jobs if not j.is_recorded()]
    if len(open_jobs) < len(jobs):
        print(f"{len(jobs) - len(open_jobs)} of {len(jobs)} runs are recorded already")
    if not open_jobs:
        return 0
    if any(j.run.precision == "bf16" for j in open_jobs) and has_bf16_instructions() is False:
        print(
            "this processor has no bf16 instructions; on it --precision bf16 is several times slower",
            file=sys.stderr,
        )
    launch = LAUNCHERS.load(execution.launcher)
    check_writable(store.folder)
    failures = []
    shown = False
    with Board(len(open_jobs)) as board, closing(launch(open_jobs, execution)) as all_news:
        for news in all_news:
            board.show(news)
            if news.kind == "failed":
                failures.append(news)
                if news.log:
                    path = store.folder / "logs" / f"{news.job.run_id}.log"
                    write_text(path, news.log)
                    board.console.print(f"its log: {path}", soft_wrap=True, highlight=False)
            if news.kind == "done" and not shown and news.job.run.method == BASELINE and len(open_jobs) > 1:
                shown = True
                print_table(rows_of_runs(leaderboard_of(store), [news.job.run_id]))
    return max((n.exit_code for n in failures), default=0)


def _report(store: Any, run_ids: Sequence[str], hint: bool) -> None:
    from sla_bench.reporting.files import rows_of_runs, write_leaderboard, write_plots
    from sla_bench.reporting.terminal import print_table

    table = write_leaderboard(store)
    print_table(rows_of_runs(table, run_ids))
    paths = write_plots(store, table)
    if hint:
        print("Is it SLA, or more images, views and ways? The same command with --controls says.")
    for folder in store.damaged():
        print(f"passed over, can't be read: {folder}", file=sys.stderr)
    names = ", ".join(
        [
            "leaderboard.csv",
            "leaderboard.md",
            "leaderboard.tex",
            *sorted(p.name for p in paths if p.suffix == ".png"),
        ]
    )
    print(f"{store.folder}/: {names}")


@app.command
def leaderboard(
    scenario: str | None = None, *, folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS
) -> int:
    """Build the tables again from the records, and print them.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    """
    from sla_bench.reporting.files import write_leaderboard
    from sla_bench.reporting.terminal import print_table

    for store in _stores(scenario, folders):
        print_table(write_leaderboard(store))
    return 0


@app.command
def plot(
    scenario: str | None = None, *, folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS
) -> int:
    """Draw the plots again from the records.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    """
    from sla_bench.reporting.files import write_leaderboard, write_plots

    for store in _stores(scenario, folders):
        for path in write_plots(store, write_leaderboard(store)):
            print(path)
    return 0


@app.command
def report(
    scenario: str | None = None, *, folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS
) -> int:
    """Write results/report.html: tables that sort and filter, each row with all that it was made of.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    """
    from sla_bench.reporting.report.page import write_report

    path = folders.out / "report.html"
    for section in write_report(_stores(scenario, folders), path):
        for name in section.damaged:
            folder = folders.out / section.name / "runs" / name
            print(f"passed over, can't be read: {folder}", file=sys.stderr)
    print(path)
    return 0


def _stores(scenario: str | None, folders: Folders) -> list[Any]:
    from sla_bench.harness.store import Store

    names = list(SCENARIOS) if scenario is None else [SCENARIOS.check(scenario)]
    stores = [s for s in (Store(folders.out, name) for name in names) if any(s.records())]
    if not stores:
        raise UserError(f"no finished runs in {folders.out}; python -m sla_bench run {names[0]} makes some")
    return stores


@datasets_app.default
def list_datasets(*, folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS) -> int:
    """List the data sets and whether their files are there."""
    from sla_bench.datasets.overview import overview

    Console(soft_wrap=True, highlight=False).print(overview(folders.data_root))
    return 0


@datasets_app.command
def info(
    name: str,
    *,
    folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS,
    sheet: Path | None = None,
) -> int:
    """Say what a data set is, what is on disk, and how to get it.

    Parameters
    ----------
    name: str
        Data set.
    sheet: Path
        Write a contact sheet of the training images to this PNG file.
    """
    from sla_bench.datasets.overview import describe, write_sheet

    Console(soft_wrap=True, highlight=False).print(describe(name, folders.data_root), markup=False)
    if sheet is not None:
        write_sheet(name, folders.data_root, sheet)
        print(sheet)
    return 0


@datasets_app.command
def prepare(
    name: str,
    *,
    folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS,
    source: Path | None = None,
) -> int:
    """Render, convert or download once what runs need.

    Parameters
    ----------
    name: str
        Data set.
    source: Path
        Where its files lie, if not below the data root.
    """
    from sla_bench.datasets.named import dataset_named

    for path in dataset_named(name).prepare(folders.data_root, source):
        print(path)
    return 0


@datasets_app.command
def verify(name: str, *, folders: Annotated[Folders, Parameter(name="*")] = NO_FOLDERS) -> int:
    """Compare the files on disk with what they should be.

    Parameters
    ----------
    name: str
        Data set.
    """
    from sla_bench.datasets.overview import verify as verify_files

    for line in verify_files(name, folders.data_root):
        print(line)
    return 0


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 (a bug), 2 (to be mended), 130 or 143."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        result = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        return int(result or 0)
    except CycloptsError as error:
        cause = error.__cause__
        return _say(str(as_user_error(cause) if isinstance(cause, ValidationError) else error), 2)
    except ValidationError as error:
        return _say(str(as_user_error(error)), 2)
    except UserError as error:
        return _say(str(error), 2)
    except KeyboardInterrupt:
        return _say("interrupted; finished runs are kept, the same command goes on", 130)
    except Terminated:
        return _say("terminated; finished runs are kept, the same command goes on", 143)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


def _say(message: str, code: int) -> int:
    print("sla-bench: " + " ".join(message.split()), file=sys.stderr)
    return code
