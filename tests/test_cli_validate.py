"""`run --validate-only`: trainings without a test, and what they say."""

import shutil

import pytest
import real_formats
from counting_scenario import CountingScenario

from sla_bench.cli import run as run_commands
from sla_bench.cli.app import run_command_line
from sla_bench.tables import files

ACCURACIES = {1e-3: (0.3, 0.4), 2e-3: (0.5, 0.7), 4e-3: (0.6, 0.2)}
"""Learning rate -> best validation accuracy at two seeds."""


class Launchers:
    def __init__(self, scenario):
        self.scenario = scenario

    def load(self, name):
        return self.scenario.launcher


@pytest.fixture
def run(tmp_path, monkeypatch):
    real_formats.write_category_pickles(tmp_path, "fc100", 20)
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "{scenario: fewshot, dataset: fc100, seed: [3, 4], episodes: 60, method: baseline, "
        f"set: {{learning_rate: {list(ACCURACIES)}}}}}"
    )

    def command(*arguments):
        scenario = CountingScenario(lambda c: [0.1, ACCURACIES[c.learning_rate][c.seed - 3], 0.15])
        monkeypatch.setattr(run_commands, "LAUNCHERS", Launchers(scenario))
        folders = ["--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
        return run_command_line(["run", str(grid), *folders, *arguments]), scenario

    return command


def test_the_best_setting_on_validation_data_comes_first_and_nothing_is_tested(run, capsys):
    code, scenario = run("--validate-only")
    assert (code, len(scenario.trained), scenario.tested) == (0, 6, [])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "validation 60.00 %, 2 seeds",
        "validation 40.00 %, 2 seeds",
        "validation 35.00 %, 2 seeds",
    ]
    assert lines[0].endswith("fc100 protonet 5-shot baseline, conv4, fp32, quick")
    assert lines[1].endswith("quick, learning_rate=0.004")


def test_they_are_exported_on_request_and_not_trained_again_elsewhere(run, tmp_path, capsys):
    run("--validate-only")
    out, archive = ["--out", str(tmp_path / "out")], str(tmp_path / "a.zip")
    assert run_command_line(["export", archive, *out]) == 0
    assert "0 runs" in capsys.readouterr().out
    assert run_command_line(["export", archive, "--untested", *out]) == 0
    assert "6 runs" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "out")
    assert run_command_line(["import", archive, *out]) == 0
    code, again = run("--validate-only")
    assert (code, again.trained) == (0, [])
    assert "validation 60.00 %, 2 seeds" in capsys.readouterr().out


def test_it_shows_them_again_and_a_test_takes_the_trained_weights(run, capsys, tmp_path):
    run("--validate-only")
    capsys.readouterr()
    code, again = run("--validate-only")
    assert (code, again.trained) == (0, [])
    assert "validation 60.00 %, 2 seeds" in capsys.readouterr().out
    assert run_command_line(["runs", "fewshot", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count("not tested, validation") == 6
    code, tested = run()
    assert (code, tested.trained, len(tested.tested)) == (0, [], 6)


def test_a_dry_run_lists_what_would_train(run, capsys):
    code, scenario = run("--validate-only", "--dry-run")
    assert (code, scenario.trained) == (0, [])
    assert "budget quick, learning_rate=0.001" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("imbalanced --dataset glyphs20", "selection=last leaves no images to validate on; take --selection"),
        ("standard --dataset glyphs20 --val-fraction 0", "--val-fraction 0 leaves no images to validate on"),
    ],
)
def test_a_training_without_validation_images_is_refused(words, sentence, capsys, tmp_path):
    code = run_command_line(["run", *words.split(), "--validate-only", "--out", str(tmp_path)])
    assert code == 2
    assert sentence in capsys.readouterr().err
