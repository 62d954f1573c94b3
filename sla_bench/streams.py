"""Terminals: printable text, and a question before something large or final."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import TextIO

from sla_bench.errors import UserError


def forgive_characters() -> None:
    """Let the standard streams replace a character that their encoding lacks by a question mark.

    A stream whose `errors` somebody has chosen (`PYTHONIOENCODING=ascii:xmlcharrefreplace`) keeps them.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def one_line(text: str) -> str:
    """Text without line breaks and control characters, which a name from outside may have."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def print_lines(lines: Iterable[str], file: TextIO | None = None) -> None:
    """Print lines with names from outside, in printable characters only, so that none controls the terminal.

    Args:
        lines: without line breaks.
        file: None means the standard output.
    """
    for line in lines:
        print(one_line(line), file=file)


def confirm(fact: str, question: str, yes: bool) -> None:
    """Return if the user agrees.

    Args:
        fact: the effect of a yes, a sentence without its full stop.
        question: asked on a terminal.
        yes: agreed beforehand (`--yes`).

    Raises:
        UserError: the answer is no, or there is no terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(f"{fact}; if that is meant, add --yes")
    try:
        answer = input(f"{fact}. {question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise UserError("nothing was done")
