"""Runs the golden smoke runs and keeps their results in tests/golden/smoke, after saying what changes.

python tests/golden/write.py            # for work that means to change a value; two minutes on two cores
python tests/golden/write.py --check    # says what differs, changes nothing; exit code 1 if anything does
"""

import argparse
import sys
import tempfile
from pathlib import Path

from golden_comparison import ABSENT, differences, identical, lines_of
from golden_runs import FILES, machine, make_runs, read_files, read_results, write_files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument(
        "--data-root", type=Path, help="where the glyphs are rendered; default: for this once"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "results")
        make_runs(arguments.data_root or Path(folder, "data"), out)
        new = read_results(out)
    lines = [] if not (FILES / "machine.json").exists() else _changes(new)
    sys.stdout.write("".join(f"{line}\n" for line in lines or ["nothing has changed"]))
    if arguments.check:
        return 1 if lines else 0
    write_files(new)
    return 0


def _changes(new):
    old, written_on = read_files()
    here = machine()
    moved = [f"machine: {k}: {v} -> {here.get(k)}" for k, v in written_on.items() if v != here.get(k)]
    changed = list(differences(old, new, identical))
    # Seen from the other side, what has come is missing.
    come = [
        (path, ABSENT, value) for path, value, there in differences(new, old, identical) if there == ABSENT
    ]
    return moved + lines_of([*changed, *come])


if __name__ == "__main__":
    sys.exit(main())
