"""Almost valid files, for each reader of files from outside; see `fuzzing.py`."""

import json
from pathlib import Path

import pytest
from fuzzed_readers import READERS
from own_process import HERE, run_python

INPUTS = 1000


def fuzz(*arguments, code=None, timeout=3600):
    program = ["-c", code] if code else [str(HERE / "fuzzing.py")]
    return run_python(*program, *arguments, timeout=timeout)


def test_no_reader_is_brought_down_by_a_few_inputs():
    """All readers in one process: what is not `UserError` ends it."""
    code = "import sys, fuzzing\nfor name in sys.argv[1:]: fuzzing.main(name, 15, 0)"
    done = fuzz(*READERS, code=code, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [count["reader"] for count in counts] == list(READERS)
    assert all(count["tried"] == 15 for count in counts)
    assert sum(count["refused"] for count in counts) > 100


BROKEN = """
import fuzzing, fuzzed_readers as f, mutations as m
def read(path):
    if len(path.read_bytes()) % 7 == 3:
        {what}
f.READERS["hole"] = f.Reader(f._grid, read, m.TEXT)
fuzzing.SECONDS, fuzzing.MEGABYTES = 5, 450
fuzzing.main("hole", 300, 0)
"""


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("raise KeyError('hole')", "KeyError: 'hole'"),
        ("while True: pass", "more than 5 seconds"),
        ("bytearray(b'x') * (700 << 20)", "MB"),
        ("raise MemoryError", "MemoryError"),
    ],
)
def test_a_hole_would_be_found(what, says):
    done = fuzz(code=BROKEN.format(what=what), timeout=120)
    assert done.returncode == 1
    assert says in done.stderr
    kept = Path(done.stderr.rpartition("the input is in ")[2].strip())
    (path,) = kept.iterdir()
    assert len(path.read_bytes()) % 7 == 3
    path.unlink()
    kept.rmdir()


@pytest.mark.campaign
@pytest.mark.parametrize("reader", READERS)
def test_campaign(reader, capsys):
    done = fuzz(reader, str(INPUTS // (3 if READERS[reader].slow else 1)), "1")
    assert done.returncode == 0, done.stderr[-3000:]
    with capsys.disabled():
        print(done.stdout.strip())  # noqa: T201
    assert json.loads(done.stdout)["tried"] >= INPUTS // 3
