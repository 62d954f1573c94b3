"""The scripts of examples/ run, are short, and use public names only."""

import ast
import os
import re
import subprocess
import sys

import pytest
from documented import ROOT
from pretrained_networks import needs_lite0

import sla_bench

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
FEW_SHOT = ["steps=2", "validations=1", "validation_episodes=4"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_is_short_and_uses_public_names_only(script):
    text = script.read_text()
    assert len(text.splitlines()) < (200 if script.stem == "sla_in_one_file" else 60)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert not any(name.name.startswith("sla_bench.") for name in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("sla_bench")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.value.id != "sla_bench" or node.attr in sla_bench.__all__, node.attr


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Where glyphs20 is rendered, once for all examples."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def run_example(data_root, tmp_path):
    def run(name, *arguments):
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        folders = {"SLA_BENCH_DATA": str(data_root), "TMPDIR": str(tmp_path), "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / name), *arguments],
            cwd=tmp_path,
            env={**os.environ, **folders, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.mark.slow
def test_sla_in_your_loop(run_example):
    shown = run_example("sla_in_your_loop.py", "--steps", "3", "--images", "200")
    accuracies = dict(re.findall(r"^(\S+) +([\d.]+) %$", shown, re.MULTILINE))
    assert set(accuracies) == {"baseline", "SLA+AG", "SLA+SI", "SLA+SD"}
    assert all(0 <= float(value) <= 100 for value in accuracies.values())


@pytest.mark.slow
def test_a_new_loss_with_significance(run_example):
    shown = run_example("a_new_loss_with_significance.py", "--steps", "3", "--seeds", "2")
    lines = re.findall(r"^(\S+) .* over ce .* p ([\d.e-]+) after Holm over 4$", shown, re.MULTILINE)
    assert {name for name, _ in lines} == {"cb-rw", "balanced-softmax", "ldam", "new"}
    adjusted = [float(p) for _, p in lines]
    assert adjusted == sorted(adjusted)
    assert max(adjusted) <= 1


@pytest.mark.slow
def test_few_shot_on_a_folder_that_it_makes(run_example, tmp_path):
    settings = [f"--set={setting}" for setting in FEW_SHOT]
    shown = run_example("few_shot_on_your_folder.py", "--episodes", "10", *settings)
    assert (tmp_path / "results-of-examples" / "fewshot" / "leaderboard.csv").is_file()
    gains = shown.partition("Gains of SLA on")[2]
    for contrast in (
        "SLA+AG against baseline:",
        "SLA+AG against baseline-xM+TTA:",
        "SLA+SI against baseline-xM:",
    ):
        assert f"5-way 5-shot, {contrast}" in gains


@pytest.mark.slow
def test_long_tail_on_a_folder_that_it_makes(run_example):
    shown = run_example("long_tail_on_your_folder.py", "--set", "epochs=1", "--loss", "ce")
    assert re.search(r"^ce +SLA\+SD +macro F1 [\d.]+ %$", shown, re.MULTILINE)
    predicted = re.findall(r"^\S+/\d+\.png: (\S+) \(([01]\.\d\d)\)$", shown, re.MULTILINE)
    assert predicted
    assert "More: python -m sla_bench predict --run " in shown


@needs_lite0
def test_new_pictures_are_classified_from_a_few_examples(run_example, tmp_path):
    shown = run_example("classify_new_pictures.py", "--size", "64")
    lines = re.findall(r"^\S+/(\S+)/\d+\.png: (\S+) \(([01]\.\d\d)\), most like \S+", shown, re.MULTILINE)
    assert len(lines) == 15
    assert sum(own == named for own, named, _ in lines) > 5  # 3 by chance
    assert "26 examples of 5 classes" in shown
    assert (tmp_path / "classifier.safetensors").is_file()
