"""Prints texts from other people's files and records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from sla_bench.streams import one_line


def print_lines(lines: Iterable[str], file: TextIO | None = None) -> None:
    """Print lines with names from outside, in printable characters only, so that none controls the terminal.

    Args:
        lines: without line breaks.
        file: None means the standard output.
    """
    for line in lines:
        print(one_line(line), file=file)
