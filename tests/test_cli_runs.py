import json
import os
import subprocess
import sys

import numpy as np
import pytest
from made_up_records import write_records

from sla_bench.cli.app import run_command_line
from sla_bench.records.store import Store


@pytest.fixture
def runs(tmp_path):
    _, ids = write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6}, seeds=(0, 1))
    return ids


def said(capsys, *arguments):
    code = run_command_line(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_each_run_is_a_line_with_its_accuracies(runs, tmp_path, capsys):
    code, out, _ = said(capsys, "runs", "--out", str(tmp_path))
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(runs)
    sla = next(line for line in lines if " sla " in line)
    assert "glyphs protonet conv4 quick sla rotation seed" in sla
    assert "5-way 5-shot: SLA+AG 60.0, 2 s" in sla


def test_a_run_is_shown_with_the_command_that_makes_it_again(runs, tmp_path, capsys):
    code, out, _ = said(capsys, "runs", "show", runs[0][:8], "--out", str(tmp_path))
    assert code == 0
    assert f"folder: {Store(tmp_path, 'fewshot').run_folder(runs[0])}" in out
    assert "learning_rate: 0.002" in out
    assert "train_images: 750" in out
    assert "python -m sla_bench run fewshot --dataset glyphs" in out
    assert "--set episodes=60" in out or "--episodes 60" in out


def test_two_runs_differ_in_what_they_differ(runs, tmp_path, capsys):
    records = {r.run_id: r for r in Store(tmp_path, "fewshot").records()}
    baseline = next(i for i in runs if records[i].config.method == "baseline")
    sla = next(
        i
        for i in runs
        if records[i].config
        == records[baseline].config.model_copy(update={"method": "sla", "transform": "rotation"})
    )
    code, out, _ = said(capsys, "runs", "compare", baseline, sla, "--out", str(tmp_path))
    assert code == 0
    assert "  method: baseline | sla" in out
    assert "learning_rate" not in out
    assert "environment: the same" in out
    assert "  baseline: 50.00 % | -" in out
    assert "  SLA+AG: - | 60.00 %" in out


@pytest.mark.parametrize("command", ["runs", "show", "compare", "leaderboard"])
def test_a_strangers_record_does_not_drive_the_terminal(command, tmp_path, capsys):
    _, ids = write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6}, dataset=["folder:a\x1b]0;b\x07\u202e"])
    for run_id in ids:
        folder = Store(tmp_path, "fewshot").run_folder(run_id)
        (folder / "environment.json").write_text(json.dumps({"host\x1b[1m": f"{run_id}\x1b[2J"}))
        (metrics,) = folder.glob("evaluations/*/metrics.json")
        content = json.loads(metrics.read_text())
        content["rows"] = {f"{row}\x1b[31m": own for row, own in content["rows"].items()}
        metrics.write_text(json.dumps(content))
        with np.load(metrics.with_name("samples.npz")) as file:
            samples = {f"{name}\x1b[31m": array for name, array in dict(file).items()}
        np.savez(metrics.with_name("samples.npz"), **samples)
    arguments = {"runs": ["runs"], "show": ["runs", "show", ids[0]], "compare": ["runs", "compare", *ids]}
    code, out, _ = said(capsys, *arguments.get(command, [command]), "--out", str(tmp_path))
    assert code == 0
    assert "baseline" in out
    assert all(line.isprintable() for line in out.split("\n"))


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["show", "zzzz"], "no finished run begins with 'zzzz'"),
        (["show", ""], "4 runs begin with ''"),
        (["compare", "zzzz", "yyyy"], "no finished run"),
        (["fewshto"], "did you mean"),
    ],
)
def test_mistakes_are_one_line(arguments, fragment, runs, tmp_path, capsys):
    code, _, err = said(capsys, "runs", *arguments, "--out", str(tmp_path))
    assert code == 2
    assert fragment in err
    assert len(err.splitlines()) == 1


def test_prune_asks_and_needs_yes_where_nobody_can_answer(runs, tmp_path, capsys):
    assert said(capsys, "runs", "prune", "--out", str(tmp_path))[:2] == (0, "nothing to delete\n")
    folder = Store(tmp_path, "fewshot").run_folder(runs[0])
    (folder / "done.json").unlink()
    code, out, err = said(capsys, "runs", "prune", "--out", str(tmp_path))
    assert code == 2
    assert f"{folder}: unfinished" in out
    assert "--yes" in err
    assert folder.exists()
    code, out, _ = said(capsys, "runs", "prune", "--yes", "--out", str(tmp_path))
    assert code == 0
    assert "deleted 1" in out
    assert not folder.exists()


@pytest.mark.slow
def test_completion_of_a_shell_knows_the_commands(tmp_path):
    script = tmp_path / "completion.bash"
    subprocess.run(
        [sys.executable, "-m", "sla_bench", "--install-completion", "--shell", "bash", "-o", str(script)],
        check=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    text = script.read_text()
    assert all(name in text for name in ("fewshot", "imbalanced", "leaderboard", "--learner"))
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
