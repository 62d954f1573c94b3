"""How commands print what other people's files and records say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from sla_bench.streams import one_line


def print_lines(lines: Iterable[str], file: TextIO | None = None) -> None:
    """Print lines with names from outside: only what can be printed, so that none drives the terminal.

    Args:
        lines: without line breaks.
        file: where to; None means the standard output.
    """
    for line in lines:
        print(one_line(line), file=file)
