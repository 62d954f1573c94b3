"""What the user can mend is said in one line; everything else is a bug and shows its traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_LONGEST = 4000
"""Characters of a message."""
_MOST_NAMES = 5


class UserError(Exception):
    """Something that the user can mend: wrong option, missing or damaged file, data that cannot serve.

    The message says what was wrong, where, and what would be right, in one line. The command line prints it
    without a traceback and leaves with exit code 2. What it quotes of a file may be anything: only characters
    that can be printed are kept, and of very long messages beginning and end.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_printable_line(_shortened(message)))


def one_printable_line(text: str) -> str:
    """Text in one line, with a sign in the place of each character that cannot be printed."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _shortened(message: str) -> str:
    half = _LONGEST // 2
    return message if len(message) <= _LONGEST else f"{message[: half - 3]} ... {message[-half + 2 :]}"


class NotFiniteError(UserError):
    """NaN or infinity where numbers should be: a loss, a gradient, weights, embeddings, scores."""


class DivergedError(UserError):
    """A training's loss, gradient or weights are not finite.

    Args:
        message: as of any `UserError`.
        log: what helps to find out why, in any number of lines.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant: `"did you mean 'sla'?"`, or the list of all where none is near."""
    known = list(known)
    matches = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    if matches:
        original = next(k for k in known if k.lower() == matches[0])
        return f"did you mean {original!r}?"
    return f"known: {', '.join(known)}"


def first_names(names: Sequence[str]) -> str:
    """The first five names in quotes, and how many follow.

    >>> first_names(["a", "b", "c", "d", "e", "f"])
    "'a', 'b', 'c', 'd', 'e' and 1 more"
    """
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(map(repr, names[:_MOST_NAMES]))}{more}"


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is in no registry, with the nearest right one."""
    return UserError(f"unknown {kind} {name!r}; {nearest(name, known)}")
