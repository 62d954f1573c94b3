import json
import re

import pandas as pd
import pytest
import real_formats
from cyclopts import App
from made_up_records import write_evaluation

from sla_bench.cli.app import run_command_line
from sla_bench.cli.run import show_so_far
from sla_bench.cli.spanning import add_grids
from sla_bench.errors import UserError
from sla_bench.grids.files import read_grid_file
from sla_bench.records import environment
from sla_bench.records.jobs import make_jobs
from sla_bench.records.store import Store
from sla_bench.tables import files

GRID = """
scenario: fewshot
dataset: fc100
method: [baseline, sla]
shots: [1, 5]
seed: [0, 1]
set: {episodes: 60}
"""


@pytest.fixture
def no_plots(monkeypatch):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])


@pytest.fixture
def grid(tmp_path, no_plots):
    """A grid file and the folders of data that it needs."""
    real_formats.write_category_pickles(tmp_path, "fc100", 20)
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


def run(path, *arguments):
    folders = ["--data-root", str(path.parent), "--out", str(path.parent / "out")]
    return run_command_line(["run", str(path), *folders, *arguments])


def record(path):
    """Record all that the file spans, without training."""
    out = path.parent / "out"
    store = Store(out, "fewshot")
    for job in make_jobs(read_grid_file(path).tasks()["fewshot"], path.parent, out, "cpu"):
        summary = {"train_images": 750, "train_seconds": 30.0, "parameters": 10, "best_step": [10]}
        history = [{"member": 0, "step": 10, "train_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.4}]
        store.write_run(job.run_id, job.run, None, history, {}, summary)
        row = {"baseline": "baseline", "sla": "SLA+AG"}[job.run.method]
        for evaluation in job.evaluations.values():
            write_evaluation(store, job.run_id, evaluation, {row: 0.5}, job.run.seed, job.test_data_hash)


def test_a_dry_run_lists_runs_states_and_time_and_writes_nothing(grid, capsys):
    assert run(grid, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 + 2
    # Seed by seed, as they will be run; within a seed as the product has them.
    order = [re.search(r"(protonet \d-shot \w+) seed (\d)", line).groups() for line in lines[:8]]
    assert [seed for _, seed in order] == ["0"] * 4 + ["1"] * 4
    assert order[:4] == [(words, "0") for words, _ in order[4:]]
    assert all("  to run  " in line for line in lines[:8])
    assert lines[8] == "8 runs: 8 to run"
    assert "can't be estimated" in lines[9]
    assert not (grid.parent / "out").exists()


def test_the_estimate_speaks_of_what_is_not_recorded(grid, capsys):
    record(grid)
    grid.write_text(GRID.replace("[0, 1]", "[0, 1, 2]"))
    assert run(grid, "--dry-run", "--workers", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "12 runs: 8 recorded, 4 to run"
    assert lines[-1] == "training takes about 60 s on 2 workers, judged by 8 recorded runs"


def test_a_recorded_grid_is_not_run_again_but_shown(grid, capsys):
    record(grid)
    assert run(grid) == 0
    out = capsys.readouterr().out
    assert "8 of 8 runs are recorded already" in out
    assert "SLA+AG" in out
    table = pd.read_csv(grid.parent / "out" / "fewshot" / "leaderboard.csv")
    assert set(table["setting"]) == {"5-way 1-shot", "5-way 5-shot"}


@pytest.mark.parametrize("command", ["run", "tune"])
@pytest.mark.parametrize(
    ("code", "fragment"),
    [
        (
            "1a2b3c4-dirty",
            "this code has local changes (1a2b3c4-dirty); commit or stash them, or add --allow",
        ),
        (
            "unknown",
            "the commit of this code is unknown; run it in a clone of the repository, or add --allow",
        ),
    ],
)
def test_records_of_committed_code_are_not_made_by_other_code(
    command, code, fragment, grid, capsys, monkeypatch
):
    monkeypatch.setattr(environment, "code_revision", lambda: code)
    record(grid)
    grid.write_text(GRID + "committed_code: true\n")
    folders = ["--data-root", str(grid.parent), "--out", str(grid.parent / "out")]
    assert run_command_line([command, str(grid), *folders]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        f"sla-bench: {grid} asks for committed code (committed_code: true), but {fragment}-dirty"
    ]
    assert said.out == ""
    # A dry run records nothing.
    assert run_command_line([command, str(grid), *folders, "--dry-run"]) == 0
    if command == "run":
        assert run(grid, "--allow-dirty") == 0
        monkeypatch.setattr(environment, "code_revision", lambda: "1a2b3c4")
        assert run(grid) == 0


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        (
            "scenario: fewshot\n\n\n\n\n\ndataset: glyhps",
            ":7: dataset: unknown dataset 'glyhps'; did you mean",
        ),
        ("scenario: fewshot\nshots: [", "not YAML"),
        ("scenario: fewshot\nout: results", "give --out on the command line"),
        ("scenario: fewshot\nyes: true", "give --yes on the command line"),
        (
            f"scenario: fewshot\nseed: {list(range(6000))}",
            "spans up to 12,000 runs; if that is meant, add --yes",
        ),
    ],
)
def test_mistakes_are_one_line(text, fragment, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text)
    assert run_command_line(["run", "x.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sla-bench: x.yaml")
    assert fragment in line


def test_run_alone_shows_the_help(capsys):
    assert run_command_line(["run"]) == 0
    out = capsys.readouterr().out
    assert "fewshot" in out
    assert "FILE" in out


@pytest.mark.slow
def test_grids_of_both_scenarios_run_and_are_recorded(tmp_path, no_plots, capsys):
    real_formats.write_category_pickles(tmp_path, "fc100", 20)
    real_formats.write_cifar10(tmp_path, 10, 2)
    path = tmp_path / "grid.yaml"
    path.write_text(
        """
defaults: {budget: smoke, method: baseline}
grids:
  - scenario: fewshot
    dataset: fc100
    shots: [1, 5]
    set: {steps: 2, validations: 1, validation_episodes: 4, episodes: 10}
  - scenario: imbalanced
    dataset: cifar10
    ratio: 4
    max_class_size: 10
    set: {epochs: 1, batch_size: 8}
"""
    )
    assert run(path) == 0
    again = capsys.readouterr()
    assert run(path) == 0
    again = capsys.readouterr().out
    assert "2 of 2 runs are recorded already" in again
    assert "1 of 1 runs are recorded already" in again
    out = tmp_path / "out"
    assert len(list(out.glob("fewshot/runs/*/done.json"))) == 2
    (done,) = out.glob("imbalanced/runs/*/done.json")
    (record,) = Store(out, "imbalanced").records()
    data_hash = json.loads(done.read_text())["data_hash"]
    assert record.config.digest(data=data_hash) == record.run_id
    assert run_command_line(["export", str(tmp_path / "a.zip"), "--out", str(out)]) == 0
    assert run_command_line(["import", str(tmp_path / "a.zip"), "--out", str(tmp_path / "to")]) == 0
    assert "added 3 runs and 3 evaluations" in capsys.readouterr().out


TWO_SCENARIOS = """
grids:
  - {scenario: fewshot, method: baseline}
  - {scenario: standard, method: baseline}
"""


@pytest.fixture
def two(tmp_path):
    """Runs a file of two scenarios; prepared and done are noted, and fail where asked."""
    path = tmp_path / "two.yaml"
    path.write_text(TWO_SCENARIOS)

    def command(unprepared=(), failing=()):
        happened = []

        def prepare(tasks, scenario, execution):
            del tasks, execution
            if scenario in unprepared:
                raise UserError("no data")

            def do():
                happened.append(scenario)
                if scenario in failing:
                    raise UserError("no space")
                return 0

            return do

        app = App(name="try", result_action="return_value")
        add_grids(app, prepare)
        return lambda: app([str(path)]), happened

    return command


def test_what_the_last_scenario_lacks_is_said_before_the_first_begins(two):
    go, happened = two(unprepared=["standard"])
    with pytest.raises(UserError, match="no data"):
        go()
    assert happened == []


def test_an_error_in_one_scenario_keeps_no_other_from_being_done(two, capsys):
    go, happened = two(failing=["fewshot"])
    assert go() == 2
    assert happened == ["fewshot", "standard"]
    assert capsys.readouterr().err == "fewshot: no space\n"


def test_records_of_which_no_table_can_be_made_end_no_grid(grid, capsys):
    record(grid)
    store = Store(grid.parent / "out", "fewshot")
    (store.folder / "tuning.csv").write_text("group,training,factor\n")
    show_so_far(store, store.records()[1].run_id)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("no table so far: ")
    assert "of a version that tuned no batches" in said.err
    assert said.err.count("\n") == 1
