"""`check-piece`: the contracts of somebody's own piece."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sla_bench.cli.options import NO_DATA, Data


def check_piece(file: Path, *, data: Annotated[Data, Parameter(name="*")] = NO_DATA) -> int:
    """Check the learners, losses, transforms, methods and data sets that a Python file defines.

    The file is imported, so its code runs, in an empty folder; nothing is trained. The exit code is 0 if all
    checks hold, 1 if one fails, and 2 if the file cannot be checked.

    Parameters
    ----------
    file: Path
        Python source, as in docs/adding-a-piece.md.
    """
    from sla_bench.contracts.files import check_file
    from sla_bench.words import print_lines

    checked = check_file(file, data.data_root)
    for piece in checked:
        print_lines([f"{piece.kind} {piece.name}", *(f"  {finding}" for finding in piece.found)])
    states = [finding.state for piece in checked for finding in piece.found]
    print(f"{states.count('holds')} checks hold, {states.count('FAILS')} fail, {states.count('note')} notes")
    return int("FAILS" in states)
