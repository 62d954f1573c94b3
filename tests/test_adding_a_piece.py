"""The pieces of docs/adding-a-piece.md, added to a copy of the package."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from documented import ROOT, commands
from made_up_records import write_records

PAGE = ROOT / "docs" / "adding-a-piece.md"
STEP = re.compile(
    r"(?:(New file) `(?P<new>[^`]+)`:\n\n|(At the end of) `(?P<end>[^`]+)`:\n\n"
    r"|One field in `(?P<model>\w+)`:\n\n|In `(?P<file>[^`]+)`, in place of `(?P<old>[^`]+)`:\n\n"
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
    begin = rf'^({registry} = Registry\(\n    "\w+",\n    "[\w.]+",\n    \{{\n)'
    replace(package / "registry.py", begin, rf"\g<1>{line}")


def replace(file, old, new):
    """Replace what a regular expression finds once in a file."""
    text, found = re.subn(old, new, file.read_text(), flags=re.MULTILINE)
    assert found == 1, (file, old)
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
        elif step["model"]:
            field = "    " + step["code"].strip()
            replace(
                package / "config.py", rf'(class {step["model"]}\(.*\n    """.*"""\n)', rf"\g<1>\n{field}"
            )
        elif step["file"]:
            replace(folder / step["file"], re.escape(step["old"]), step["code"].strip())
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


FIELD = """
import sys
from pathlib import Path

import pandas as pd
from made_up_records import write_records

from sla_bench.cli.app import run_command_line
from sla_bench.records.store import Store
from sla_bench.tables.run_list import show_run

out = Path(sys.argv[1])
_, usual = write_records(out, {"baseline": 0.5, "SLA+AG": 0.6})
_, other = write_records(out, {"baseline": 0.5, "SLA+AG": 0.6}, beta1=0.5)
_, set_to = write_records(out, {"baseline": 0.5, "SLA+AG": 0.6}, settings=("episodes=60", "beta1=0.5"))
assert other == set_to
assert not {*usual} & {*other}
assert run_command_line(["leaderboard", "--out", str(out)]) == 0
assert run_command_line(["report", "--out", str(out)]) == 0
table = pd.read_csv(out / "fewshot" / "leaderboard.csv")
told = table.set_index("run_ids")["BETA1" if "BETA1" in table else "budget"]
assert set(told) == VALUES, told
assert "beta1" in (out / "report.html").read_text()
shown = [line for r in Store(out, "fewshot").records() if r.run_id in other for line in show_run(r)]
assert any("--beta1 0.5" in line for line in shown)
(out / "grid.yaml").write_text("grids: [{scenario: fewshot, budget: smoke, beta1: 0.5, method: baseline}]")
folders = ["--data-root", str(out / "data"), "--out", str(out)]
assert run_command_line(["run", str(out / "grid.yaml"), "--dry-run", *folders]) == 0
print(*usual)
"""


@pytest.mark.parametrize("marker", ["", "Column(), "])
def test_a_field_is_declared_once_and_shows_up_everywhere(copy, tmp_path, marker):
    folder, _ = copy
    config = folder / "sla_bench" / "config.py"
    text = config.read_text()
    config.write_text(text.replace("beta1: Annotated[float, ", f"beta1: Annotated[float, {marker}"))
    values = {0.9, 0.5} if marker else {"quick", "quick, beta1=0.5"}
    code = FIELD.replace("BETA1", "beta1").replace("VALUES", repr(values))
    try:
        printed = python(folder, "-c", code, str(tmp_path / "out"))
    finally:
        config.write_text(text)
    _, usual = write_records(tmp_path / "here", {"baseline": 0.5, "SLA+AG": 0.6})
    assert printed.splitlines()[-1].split() == usual


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "pieces", "rows"),
    [
        ("fewshot", {"learner": "manhattan", "transform": "mirror", "ways": "3"}, {"SLA+AG", "consistency"}),
        ("imbalanced", {"loss": "cdt", "transform": "mirror", "ratio": "4"}, {"SLA+AG", "consistency"}),
        ("standard", {"transform": "mirror"}, {"SLA+AG", "consistency"}),
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
