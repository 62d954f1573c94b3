"""A folder that changes between or during commands."""

import json
import re
import shutil

import pandas as pd
import pytest
import real_formats
from counting_scenario import CountingScenario
from made_up_records import write_records

from sla_bench.cli import run as run_commands
from sla_bench.cli.app import run_command_line
from sla_bench.records.store import Store
from sla_bench.tables import files
from sla_bench.tables.report.page import write_report


@pytest.fixture
def birds(tmp_path):
    """Sixteen classes of twenty images; the seed splits the classes."""
    real_formats.write_folder(tmp_path / "birds", 16, 20, size=16)
    return tmp_path / "birds"


@pytest.fixture
def go(tmp_path, birds, monkeypatch):
    """Runs a command with made-up trainings; returns the scenario that counted them."""
    monkeypatch.setattr(files, "write_plots", lambda store, table, pdf=False: [])

    def command(*arguments, name="run", code=0, scenario=None):
        scenario = scenario or CountingScenario(lambda config: [0.3, 0.6])
        monkeypatch.setattr(run_commands, "LAUNCHERS", scenario)
        folders = ["--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
        given = ["--dataset", f"folder:{birds}:16", "--episodes", "60", "--method", "baseline"]
        assert run_command_line([name, "fewshot", *given, *folders, *arguments]) == code
        return scenario

    return command


def rows(tmp_path):
    table = pd.read_csv(tmp_path / "out" / "fewshot" / "leaderboard.csv")
    return [tuple(row) for row in table[["method", "seeds"]].drop_duplicates().to_numpy()]


def store_of(tmp_path):
    return Store(tmp_path / "out", "fewshot")


SEEDS = ("--seed", "0", "--seed", "1", "--seed", "2")


def test_seeds_that_split_the_classes_are_averaged_and_states_are_not(go, birds, tmp_path, capsys):
    go(*SEEDS)
    assert rows(tmp_path) == [("baseline", 3)]
    shutil.rmtree(birds / "kind03")
    go("--seed", "1")
    said = " ".join(capsys.readouterr().out.split())
    assert rows(tmp_path) == [("baseline", 1)]
    line = r"newest state of the data \([0-9a-f]{8}\); also recorded, of other states: \S+ \(3 runs\)"
    assert re.search(line, said)
    go("--seed", "2")
    assert rows(tmp_path) == [("baseline", 2)]
    states = {e.state for record in store_of(tmp_path).records() for e in record.evaluations}
    assert len(states) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda birds: (birds / "kind00" / "00000.png").unlink(),
        lambda birds: shutil.copytree(birds / "kind00", birds / "kind99"),
        lambda birds: (birds / "kind00").rename(birds / "zebra"),
        lambda birds: shutil.copy(birds / "kind00" / "00000.png", birds / "kind01" / "x.png"),
    ],
    ids=["removed", "class added", "class renamed", "added"],
)
def test_any_change_is_a_state_and_going_back_trains_nothing_and_shows_the_first(
    change, go, birds, tmp_path, capsys
):
    shutil.copytree(birds, tmp_path / "before")
    go(*SEEDS)
    csv = tmp_path / "out" / "fewshot" / "leaderboard.csv"
    first = pd.read_csv(csv)
    change(birds)
    # Where the seed puts the change into the test, the training stays.
    assert len(go(*SEEDS, "--method", "sla").tested) == 6
    assert rows(tmp_path) == [("baseline", 3), ("SLA+AG", 3)]
    shutil.rmtree(birds)
    shutil.copytree(tmp_path / "before", birds)
    capsys.readouterr()
    scenario = go(*SEEDS)
    assert (scenario.trained, scenario.tested) == ([], [])
    assert "baseline" in capsys.readouterr().out
    assert rows(tmp_path) == [("baseline", 3)]
    again = pd.read_csv(csv)
    assert again["other_states"].str.contains("(6 runs)", regex=False).all()
    pd.testing.assert_frame_equal(*(table.drop(columns="other_states") for table in (first, again)))
    # Later commands stay with it.
    assert run_command_line(["leaderboard", "--out", str(tmp_path / "out")]) == 0
    assert rows(tmp_path) == [("baseline", 3)]
    write_report([store_of(tmp_path)], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "also recorded, of other states" in page
    assert page.count("<tr data-row=") == 1


def test_older_states_are_listed_and_pruned_by_name(go, birds, tmp_path, capsys):
    go(*SEEDS)
    (birds / "kind00" / "00000.png").unlink()
    go("--seed", "0")
    out = ["--out", str(tmp_path / "out")]
    capsys.readouterr()
    assert run_command_line(["runs", *out]) == 0
    lines = capsys.readouterr().out.splitlines()
    older = {line.split("older data ")[1][:8] for line in lines if "older data" in line}
    assert (len(lines), len(older), sum("older data" in line for line in lines)) == (4, 1, 3)
    assert run_command_line(["runs", "prune", "--state", "zz", "--yes", *out]) == 2
    assert "no state begins with 'zz'; recorded are" in capsys.readouterr().err
    assert run_command_line(["runs", "prune", "--state", "", "--yes", *out]) == 2
    assert "2 states begin with ''" in capsys.readouterr().err
    assert run_command_line(["runs", "prune", "--older-states", *out]) == 2
    assert len(store_of(tmp_path).records()) == 4
    assert run_command_line(["runs", "prune", "--state", *older, "--yes", *out]) == 0
    assert "deleted 3" in capsys.readouterr().out
    (left,) = store_of(tmp_path).records()
    assert left.config.seed == 0
    assert run_command_line(["runs", "prune", "--older-states", "--yes", *out]) == 0
    assert "nothing to delete" in capsys.readouterr().out


def test_what_changes_while_a_command_runs_is_recorded_under_no_wrong_name(go, birds, tmp_path, capsys):
    class Changing(CountingScenario):
        def run(self, config, *given):
            training = super().run(config, *given)
            if config.seed == 1:
                (birds / "kind00" / "00000.png").unlink()
            return training

    scenario = go(*SEEDS, scenario=Changing(lambda config: [0.5]), code=2)
    assert [config.seed for config in scenario.trained] == [0, 1]
    assert [config.seed for config in scenario.tested] == [0]
    assert f"{birds} has changed since this command began" in capsys.readouterr().err
    go(*SEEDS)
    assert rows(tmp_path) == [("baseline", 3)]


def test_rates_are_chosen_for_one_state(go, birds, tmp_path):
    go(name="tune")
    (birds / "kind00" / "00000.png").unlink()
    go()
    table = pd.read_csv(tmp_path / "out" / "fewshot" / "leaderboard.csv")
    assert set(table["budget"]) == {"quick"}
    assert len(go(name="tune").trained) == 8
    trials = pd.read_csv(tmp_path / "out" / "fewshot" / "tuning.csv")
    assert list(trials.groupby("data_state").size()) == [8, 8]
    table = pd.read_csv(tmp_path / "out" / "fewshot" / "leaderboard.csv")
    assert set(table["budget"]) == {"quick", "quick, tuned"}


def test_evaluate_names_the_folder_that_has_changed(go, birds, tmp_path, capsys):
    go("--seed", "0")
    (run_id,) = (record.run_id for record in store_of(tmp_path).records())
    shutil.rmtree(birds / "kind03")
    folders = ["--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
    capsys.readouterr()
    assert run_command_line(["evaluate", run_id, "--shots", "1", *folders]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"run {run_id} was trained on other data of folder:{birds}:16 than {birds} holds now" in message
    shutil.rmtree(birds)
    assert run_command_line(["evaluate", run_id, "--shots", "1", *folders]) == 2
    assert f"the folder {birds} does not exist" in capsys.readouterr().err


def edited(name, **values):
    def edit(folder):
        (path,) = folder.glob(name)
        content = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in {**content, **values}.items() if v is not None}))

    return edit


def cut(name):
    def edit(folder):
        (path,) = folder.glob(name)
        path.write_bytes(path.read_bytes()[:20])

    return edit


NEWER = {
    "unknown field": edited("config.json", colour="red"),
    "unknown choice": edited("config.json", selection="luck"),
    "unknown field of a test": edited("evaluations/*/config.json", colour="red"),
}
DAMAGED = {
    "no data set": edited("config.json", dataset=None),
    "cut": cut("config.json"),
    "no rows": edited("evaluations/*/metrics.json", rows=None),
    "cut samples": cut("evaluations/*/samples.npz"),
}


@pytest.mark.parametrize("case", NEWER | DAMAGED)
def test_a_record_that_can_not_be_read_is_named_by_each_command_and_made_again(case, go, tmp_path, capsys):
    go("--seed", "0", "--seed", "1")
    bad, good = sorted(store_of(tmp_path).records(), key=lambda record: record.config.seed)
    (NEWER | DAMAGED)[case](bad.folder)
    why = "made by a newer version?" if case in NEWER else "damaged"
    out = ["--out", str(tmp_path / "out")]
    for command in ("leaderboard", "runs", "plot", "report", f"runs show {good.run_id}"):
        capsys.readouterr()
        assert run_command_line([*command.split(), *out]) == 0
        assert f"1 record cannot be read ({why}): {bad.folder}" in capsys.readouterr().err, command
    scenario = go("--seed", "0", "--seed", "1")
    of_test = "test" in case or case in ("no rows", "cut samples")
    assert [config.seed for config in scenario.trained] == ([] if of_test else [0])
    assert [config.seed for config in scenario.tested] == ([0] if of_test else [])
    assert rows(tmp_path) == [("baseline", 2)]
    assert store_of(tmp_path).unreadable() == []


@pytest.mark.parametrize("case", NEWER)
def test_nothing_but_records_of_a_newer_version_is_no_empty_folder_and_stays(
    case, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(files, "write_plots", lambda store, table, pdf=False: [])
    store, (run_id,) = write_records(tmp_path, {"baseline": 0.5})
    NEWER[case](store.run_folder(run_id))
    is_training = "test" not in case
    for command in ("leaderboard", "report", "runs", f"runs show {run_id}", f"evaluate {run_id}"):
        assert run_command_line([*command.split(), "--out", str(tmp_path)]) == (2 if is_training else 0) or (
            command.startswith("evaluate")
        )
        said = capsys.readouterr().err
        assert f"1 record cannot be read (made by a newer version?): {store.run_folder(run_id)}" in said
        assert "no finished runs" not in said
    assert run_command_line(["runs", "prune", "--yes", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "nothing to delete" in said.out
    assert "made by a newer version?" in said.err
    assert store.run_folder(run_id).exists()


def test_prune_deletes_a_damaged_evaluation_alone_and_keeps_a_later_protocol(tmp_path, capsys):
    store, (first, second) = write_records(tmp_path, {"baseline": 0.5}, seeds=(0, 1))
    cut("evaluations/*/samples.npz")(store.run_folder(first))
    edited("done.json", protocol=99)(store.run_folder(second))
    assert run_command_line(["runs", "prune", "--yes", "--out", str(tmp_path)]) == 0
    assert "deleted 1" in capsys.readouterr().out
    assert (store.run_folder(first) / "done.json").exists()
    assert not list((store.run_folder(first) / "evaluations").iterdir())
    assert store.run_folder(second).exists()


def test_a_run_of_a_later_protocol_is_named_and_never_trained_by_evaluate(tmp_path, capsys):
    store, (run_id,) = write_records(tmp_path, {"baseline": 0.5})
    for name in ("done.json", "evaluations/*/metrics.json"):
        edited(name, protocol=99)(store.run_folder(run_id))
    assert run_command_line(["leaderboard", "--out", str(tmp_path)]) == 0
    assert "1 record of protocol 99 shown apart, this version follows" in capsys.readouterr().err
    assert run_command_line(["evaluate", run_id, "--shots", "1", "--out", str(tmp_path)]) == 2
    assert f"run {run_id} follows protocol 99" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["leaderboard", "plot", "report"])
def test_tables_go_to_another_folder_and_records_stay_as_they_are(command, tmp_path, capsys):
    store, _ = write_records(tmp_path / "results", {"baseline": 0.5, "SLA+AG": 0.6}, seeds=(0, 1))
    before = {p.name for p in store.folder.iterdir()} | {"cache.sqlite"}
    tables = tmp_path / "mine"
    arguments = ["--out", str(tmp_path / "results"), "--tables", str(tables)]
    assert run_command_line([command, *arguments]) == 0
    assert {p.name for p in store.folder.iterdir()} | {"cache.sqlite"} == before
    assert not (tmp_path / "results" / "report.html").exists()
    if command == "report":
        assert (tables / "report.html").exists()
    else:
        assert len(pd.read_csv(tables / "fewshot" / "leaderboard.csv")) == 2
    if command == "plot":
        printed = capsys.readouterr().out.splitlines()
        assert str(tables / "fewshot" / "gains.png") in printed


def test_a_run_writes_its_tables_elsewhere_too(go, tmp_path, capsys):
    go("--seed", "0", "--tables", str(tmp_path / "mine"))
    assert not (tmp_path / "out" / "fewshot" / "leaderboard.csv").exists()
    assert f"{tmp_path / 'mine' / 'fewshot'}/: leaderboard.csv" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "mine" / "fewshot" / "leaderboard.csv")) == 1
