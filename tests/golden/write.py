"""Write the results of the golden smoke runs to tests/golden/smoke.

python tests/golden/write.py            # prints each difference, then writes; two minutes on two idle cores
python tests/golden/write.py --check    # prints each difference, writes nothing; exit code 1 if there is one
"""

import argparse
import sys
import tempfile
from pathlib import Path

from golden_comparison import changes, lines_of
from golden_runs import FILES, machine, make_runs, read_files, read_results, write_files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--data-root", type=Path, help="folder of rendered glyphs; default: a temporary one")
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
    return moved + lines_of(changes(old, new))


if __name__ == "__main__":
    sys.exit(main())
