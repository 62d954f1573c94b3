import json

import pytest
from folder_drawings import put

from sla_bench.cli.app import run_command_line
from sla_bench.scenarios.fewshot.demands import validation_queries
from sla_bench.tables import files


@pytest.fixture
def birds(tmp_path):
    for number in range(12):
        put(tmp_path / "birds" / f"class{number:02d}", 8 if number == 3 else 18, drawn=True)
    return f"folder:{tmp_path / 'birds'}:16"


def run(name, tmp_path, *options):
    folders = ["--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    command = ["run", "fewshot", "--dataset", name, "--budget", "smoke", "--method", "baseline", *folders]
    return run_command_line([*command, *options])


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "has 4 train classes, too few for 5 ways: --train-ways can ask for 4 at most"),
        (
            ("--ways", "5", "--train-ways", "3"),
            "has 4 test classes, too few for 5 ways: --ways can ask for 4",
        ),
        (
            ("--ways", "3"),
            "5 shots + 15 queries need 20 images of each test class; too small: 'class01' (18)",
        ),
        (
            ("--ways", "3", "--queries", "5", "--train-queries", "14"),
            "5 shots + 14 queries need 19 images of each train class; too small: 'class0",
        ),
        (
            ("--ways", "3", "--queries", "5", "--val-shots", "8"),
            "8 shots + 1 queries need 9 images of each val class; too small: 'class03' (8)",
        ),
    ],
)
def test_a_dry_run_refuses_what_a_run_would_by_name_and_part(birds, tmp_path, capsys, dry, options, words):
    assert run(birds, tmp_path, *options, *dry) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in message
    assert not (tmp_path / "out").exists()


def test_validation_asks_as_many_queries_as_its_classes_have(birds, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    options = ("--ways", "3", "--queries", "2", "--train-queries", "2", "--set", "steps=2", "episodes=5")
    assert run(birds, tmp_path, *options, "--set", "validation_episodes=5") == 0
    said = capsys.readouterr().err
    assert "validation asks 3 queries of each class, not 15: val class 'class03' has 8 images" in said
    (record,) = (tmp_path / "out" / "fewshot" / "runs").iterdir()
    assert json.loads((record / "done.json").read_text())["val_queries"] == 3


def test_a_method_that_cannot_run_leaves_the_others(birds, tmp_path, capsys):
    sizes = ("--ways", "3", "--queries", "2", "--train-queries", "2")
    options = (*sizes, "--method", "baseline-NMway", "--dry-run")
    assert run(birds, tmp_path, *options) == 0
    said = capsys.readouterr()
    assert "baseline-NMway will fail: " in said.err.replace("baseline-nmway", "baseline-NMway")
    assert "2 runs: 2 to run" in said.out


def test_queries_of_validation():
    assert [validation_queries(smallest, 5) for smallest in (600, 20, 19, 8, 5)] == [15, 15, 14, 3, 1]
