"""Words that people type and read: paths, near names, printable lines."""

from __future__ import annotations

import difflib
import io
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from sla_bench.errors import UserError


def from_home(path: str | Path) -> Path:
    """The path, a `~` or `~NAME` at its beginning replaced by that home folder where there is one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - the method raises where nobody has that name


def names_below(paths: Iterable[Path], base: Path) -> list[str]:
    """Names of paths relative to a folder that all begin with, with slashes; `relative_to` is slow."""
    begin = 0 if base == Path() else len(os.path.join(base, ""))  # noqa: PTH118 - the root ends with a slash
    return [str(path)[begin:].replace(os.sep, "/") or "." for path in paths]


def words_from_home(words: Sequence[str]) -> list[str]:
    """The words of a command as a shell would hand them over, also where `~` comes after `--option=`.

    A lone `-` becomes `./-`, the same path, which no parser takes for an option.

    >>> import os; os.environ["HOME"] = "/home/me"
    >>> words_from_home(["run", "--out=~/results", "~/grid.yaml", "--dataset", "folder:~/photos"])
    ['run', '--out=/home/me/results', '/home/me/grid.yaml', '--dataset', 'folder:~/photos']
    """
    return [_word_from_home(word) for word in words]


def _word_from_home(word: str) -> str:
    if word == "-":
        return "./-"
    if word.startswith("~"):
        return str(from_home(word))
    option, equals, value = word.partition("=")
    if option.startswith("--") and value.startswith("~"):
        return f"{option}{equals}{from_home(value)}"
    return word


def nearest_path(path: Path) -> str:
    """Say which file or folder is meant by a path that does not exist: `; did you mean photos?`, or ""."""
    meant = existing_near(path)
    return "" if meant is None else f"; did you mean {meant}?"


def existing_near(path: Path) -> Path | None:
    """The existing path that differs from a missing one in the spelling of a name, or None."""
    missing = path
    while not missing.parent.exists() and missing.parent != missing:
        missing = missing.parent
    try:
        names = {name.lower(): name for name in os.listdir(missing.parent)}  # noqa: PTH208 - names, not paths
    except OSError:
        return None
    close = difflib.get_close_matches(missing.name.lower(), names, n=1)
    if not close:
        return None
    meant = missing.with_name(names[close[0]]) / path.relative_to(missing)
    return meant if meant.exists() else None


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
