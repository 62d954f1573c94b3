"""Do tests notice when the code is wrong? See `code_mutations.py`."""

import ast
import json

import pytest
from code_mutations import ROOT, TARGETS, mutants_of
from equivalent_mutants import EQUIVALENT
from own_process import HERE, run_python

CODE = '''
"""A module."""
LIMIT: int = 3

def bounded(value: int, limit=LIMIT, strict=False):
    """Says 5 and not so."""
    if not strict and value > limit:
        raise ValueError(f"{value + 1}")
    values = [value]
    values.append(max(value, limit) + round(value, limit))
    return 1.0 if strict else 0, -limit
'''


def test_every_kind_of_change_is_made_and_messages_stay():
    assert [mutant.name.partition(" in ")[0] for mutant in mutants_of("m", CODE)] == [
        "m.module: 3 -> 4",
        "m.module: 3 -> 2",
        "m.bounded: False -> True",
        "m.bounded: if not strict and value > limi ... rror(f'{value + 1}') -> nothing",
        "m.bounded: not strict and value > limit -> not strict or value > limit",
        "m.bounded: not strict -> strict",
        "m.bounded: value > limit -> value >= limit",
        "m.bounded: value > limit -> value <= limit",
        "m.bounded: values.append(max(value, limit) + round(value, limit)) -> nothing",
        "m.bounded: max(value, limit) + round(value, limit) -> max(value, limit) - round(value, limit)",
        "m.bounded: max(value, limit) -> min(value, limit)",
        "m.bounded: round(value, limit) -> round(limit, value)",
        "m.bounded: return (1.0 if strict else 0, -limit) -> return (-limit, 1.0 if strict else 0)",
        "m.bounded: 1.0 if strict else 0 -> 0 if strict else 1.0",
        "m.bounded: 1.0 -> 2.0",
        "m.bounded: 0 -> 1",
        "m.bounded: 0 -> -1",
        "m.bounded: -limit -> limit",
    ]


def test_no_two_mutants_are_one():
    mutants = mutants_of("m", CODE)
    texts = {ast.unparse(mutant.changed()) for mutant in mutants}
    original = ast.unparse(ast.parse(CODE))
    assert len(texts) == len(mutants)
    assert original not in texts
    assert {ast.unparse(mutant.tree) for mutant in mutants} == {original}


COUNTDOWN = """
def steps(n):
    count = 0
    while n > 0:
        n -= 1
        count += 1
    return count
"""
TRIED = """
import json, pathlib, sys, pytest, code_mutations as c
root = pathlib.Path(sys.argv[1])
mutants = c.mutants_of("countdown", (root / "countdown.py").read_text())
assert c.fate(None, ["test_countdown.py"], 6, root) == "SURVIVED"
chosen = [m for m in mutants if m.name.partition(": ")[2] in sys.argv[2:]]
print(json.dumps([c.fate(m, ["test_countdown.py"], 6, root) for m in chosen]))
"""


def fates(folder, test, *names, code=COUNTDOWN):
    (folder / "countdown.py").write_text(code)
    (folder / "test_countdown.py").write_text(f"def test_it():\n    {test}\n")
    return run_python("-c", TRIED, str(folder), *names, timeout=300)


def test_mutants_are_killed_stopped_or_survive(tmp_path):
    names = ["0 -> 1 in count = 0", "n -= 1 -> nothing", "count += 1 -> count -= 1", "1 -> 2 in n -= 1"]
    done = fates(tmp_path, "from countdown import steps; assert steps(1) == 1", *names)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["killed", "stopped", "SURVIVED", "killed"]


def test_a_mutant_that_cannot_be_imported_is_killed(tmp_path):
    test = tmp_path / "test_countdown.py"
    (tmp_path / "countdown.py").write_text("assert True\nX = 1 / 1\n")
    test.write_text("import countdown\n\ndef test_it():\n    assert countdown.X in (1, 2)\n")
    names = ("1 -> 0 in X = 1 / 1", "1 -> 0 in X = 1 / 1 (2)", "1 -> 2 in X = 1 / 1")
    done = run_python("-c", TRIED, str(tmp_path), *names, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["SURVIVED", "killed", "killed"]


def test_tests_that_never_import_the_mutant_are_no_answer(tmp_path):
    done = fates(tmp_path, "pass", "3 -> 4 in LIMIT = 3", code="LIMIT = 3\n")
    assert done.returncode == 1
    assert "never imported countdown" in done.stderr


def test_mutants_that_are_explained_exist():
    names = {
        mutant.name
        for target in TARGETS.values()
        for module in target.modules
        for mutant in mutants_of(module, (ROOT / f"{module.replace('.', '/')}.py").read_text())
    }
    explained = [name for group in EQUIVALENT.values() for name in group]
    assert set(explained) <= names
    assert len(explained) == len(set(explained))


@pytest.mark.campaign
@pytest.mark.parametrize("name", TARGETS)
def test_campaign(name, capsys):
    done = run_python(str(HERE / "code_mutations.py"), name, timeout=6 * 3600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print(name, {key: value for key, value in found.items() if key != "survivors"})  # noqa: T201
    assert found["tried"] == found["mutants"] > 100
    explained = {mutant for group in EQUIVALENT.values() for mutant in group}
    assert set(found["survivors"]) <= explained, "\n".join(sorted(set(found["survivors"]) - explained))
