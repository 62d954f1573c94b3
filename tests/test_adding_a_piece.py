"""The pieces of docs/adding-a-piece.md, added to a copy of the package exactly as the page says."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from documented import ROOT, commands

PAGE = ROOT / "docs" / "adding-a-piece.md"
STEP = re.compile(
    r"(?:(New file) `(?P<new>[^`]+)`:\n\n|(At the end of) `(?P<end>[^`]+)`:\n\n"
    r"|One line in `(?P<registry>[A-Z]+)`:\n\n)?```python\n(?P<code>.*?)```",
    re.DOTALL,
)
SHORT = {
    "fewshot": ["steps=2", "validations=1", "validation_episodes=4", "episodes=10"],
    "imbalanced": ["epochs=1", "validations=1"],
    "standard": ["steps=2"],
}


def register(package, registry, line):
    """Put the line first into a table of the registry."""
    file = package / "registry.py"
    begin = re.compile(rf'^{registry} = Registry\(\n    "\w+",\n    \{{\n', re.MULTILINE)
    text, found = begin.subn(lambda match: match[0] + line, file.read_text())
    assert found == 1, registry
    file.write_text(text)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A folder with the package and the page's pieces in it, and what the page checks."""
    folder = tmp_path_factory.mktemp("copy")
    package = folder / "sla_bench"
    shutil.copytree(ROOT / "sla_bench", package, ignore=shutil.ignore_patterns("__pycache__"))
    checks = []
    for step in STEP.finditer(PAGE.read_text()):
        if step["new"]:
            assert not (folder / step["new"]).exists()
            (folder / step["new"]).write_text(step["code"])
        elif step["end"]:
            with (folder / step["end"]).open("a") as file:
                file.write("\n\n" + step["code"])
        elif step["registry"]:
            register(package, step["registry"], step["code"])
        else:
            checks.append(step["code"])
    return folder, checks


def python(folder, *arguments):
    path = os.pathsep.join([str(folder), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_checks_of_the_page_hold_and_its_commands_can_be_parsed(copy):
    folder, checks = copy
    assert len(checks) == 5
    assert len(commands(PAGE)) >= 4
    script = [
        "import sys, documented, sla_bench",
        f"assert sla_bench.__file__.startswith({str(folder)!r}), sla_bench.__file__",
        f"for code in {checks!r}: exec(compile(code, 'adding-a-piece.md', 'exec'), {{}})",
        f"for words in {commands(PAGE)!r}: documented.check_command(words)",
    ]
    python(folder, "-c", "\n".join(script))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "pieces", "rows"),
    [
        ("fewshot", {"learner": "manhattan", "transform": "mirror", "ways": "3"}, {"SLA+AG", "consistency"}),
        ("imbalanced", {"loss": "cdt", "transform": "mirror", "ratio": "4"}, {"SLA+AG", "consistency"}),
        ("standard", {"transform": "turn_swap"}, {"SLA+AG", "consistency"}),
    ],
)
def test_the_pieces_train_from_the_command_line(copy, tmp_path, scenario, pieces, rows):
    folder, _ = copy
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(9), 40)
    images = rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
    names = [f"tree {k}" for k in range(9)]
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "leaves.npz", images=images, labels=labels, names=names)
    options = [f"--{name}={value}" for name, value in {"dataset": "leaves", **pieces}.items()]
    folders = [f"--data-root={tmp_path / 'data'}", f"--out={tmp_path / 'out'}"]
    short = [f"--set={setting}" for setting in SHORT[scenario]]
    methods = ["--method=sla", "--method=consistency"]
    python(folder, "-m", "sla_bench", "run", scenario, *options, *methods, *folders, "--budget=smoke", *short)
    table = pd.read_csv(tmp_path / "out" / scenario / "leaderboard.csv")
    assert rows <= set(table["method"])
    assert set(table["dataset"]) == {"leaves"}
    assert set(table["transform"]) == {pieces["transform"]}
    assert set(table["learner"]) == {pieces.get("learner") or pieces.get("loss") or "ce"}
