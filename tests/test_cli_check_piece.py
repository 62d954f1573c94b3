"""`check-piece` from the command line: exit codes, bad files, files that write."""

from pathlib import Path

import pytest

from sla_bench.cli.app import run_command_line

GOOD = """
from sla_bench.views.transforms import Transform

HALF = Transform("half", turns=(0, 2))
"""


def check(tmp_path, source, name="own.py"):
    (tmp_path / name).write_text(source)
    return run_command_line(["check-piece", str(tmp_path / name)])


def test_a_sound_file_is_0_and_one_that_fails_is_1(tmp_path, capsys):
    assert check(tmp_path, GOOD) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "transform HALF"
    assert lines[1] == "  holds  views are (images, M, channels, height, width), M at least 2, and finite"
    assert lines[-1] == "10 checks hold, 0 fail, 0 notes"
    assert check(tmp_path, GOOD.replace("(0, 2)", "(0, 2, 2)")) == 1
    assert "  FAILS  no two views are the same: views 1 and 2 are" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:\n    pass\n", "line 1: invalid syntax; correct the file first"),
        ("x = 1\n", "has no piece to check: a piece is a subclass of FewShotHead"),
        ("from sla_bench.views.transforms import ROTATION\n", "has no piece to check"),
        (GOOD.replace("HALF = ", "class Half(Transform):\n    ...  # "), "transform Half needs an instance"),
        ("\n\nimport not_a_module\n", "line 3: cannot be imported: ModuleNotFoundError"),
        ("import sys\nsys.exit(0)\n", "line 2: cannot be imported: SystemExit"),
        ("1 / 0\n", "line 1: cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_checked_is_2(tmp_path, capsys, source, message):
    assert check(tmp_path, source) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_no_python_file_is_2(tmp_path, capsys):
    assert run_command_line(["check-piece", str(tmp_path / "not there.py")]) == 2
    assert "not there.py is missing" in capsys.readouterr().err
    assert run_command_line(["check-piece", str(tmp_path)]) == 2
    assert "is a folder; check-piece takes a Python file" in capsys.readouterr().err
    (tmp_path / "binary.py").write_bytes(b"\x80\xff\x00")
    assert run_command_line(["check-piece", str(tmp_path / "binary.py")]) == 2
    assert "not a text in UTF-8" in capsys.readouterr().err
    assert check(tmp_path, "x = '\0'\n") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_files_that_are_written_are_named_and_stay_away_from_the_working_folder(
    tmp_path, capsys, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    source = (
        GOOD + "import pathlib\npathlib.Path('cache').mkdir()\npathlib.Path('cache/a.txt').write_text('x')\n"
    )
    assert check(tmp_path, source) == 1
    assert "  FAILS  import and checks write no file: written were cache/a.txt" in capsys.readouterr().out
    assert list((tmp_path / "here").iterdir()) == []
    assert Path.cwd() == tmp_path / "here"
    beside = GOOD + "import pathlib\npathlib.Path(__file__).with_name('b.txt').write_text('x')\n"
    assert check(tmp_path, beside) == 1
    assert "written were b.txt" in capsys.readouterr().out
    # A second time the file is written with the same name and size.
    assert check(tmp_path, beside) == 1
    assert "written were b.txt" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_file_imports_its_neighbours(tmp_path):
    (tmp_path / "half_turns.py").write_text("TURNS = (0, 2)\n")
    assert check(tmp_path, "from half_turns import TURNS\n" + GOOD.replace("(0, 2)", "TURNS")) == 0
