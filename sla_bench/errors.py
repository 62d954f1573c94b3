"""Errors a user can fix, in one line; checks of numbers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_LONGEST = 4000
"""Characters of a message."""
_MOST_NAMES = 5


class UserError(Exception):
    """An error that the user can fix: wrong option, missing or damaged file, data that cannot serve.

    The message names the mistake, the value and the fix in one line. The command line prints it without a
    traceback and ends with exit code 2. Quotes from files may hold anything: only printable characters are
    kept, and the beginning and the end of very long messages.
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
    """NaN or infinity in a loss, a gradient, weights, embeddings or scores."""


class DivergedError(UserError):
    """A training's loss, gradient or weights are not finite.

    Args:
        message: as of any `UserError`.
        log: details for finding the cause, in any number of lines.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name, `"did you mean 'sla'?"`, or list all names where none is near."""
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


def as_user_error(error: ValidationError, set_only: Collection[str] = ()) -> UserError:
    """Say in one line which option has which wrong value, with the nearest right one if there is a list.

    Args:
        error: what pydantic found; of several mistakes the first is told.
        set_only: fields without an option, which `--set` changes.
    """
    first = error.errors()[0]
    path = [str(p) for p in first["loc"] if isinstance(p, str)]
    if path and path[0].endswith("_options"):
        option, joint = f"--set {path[0].removesuffix('_options')}.{path[1]}", "="
    elif path and path[0] in set_only:
        option, joint = f"--set {path[0]}", "="
    else:
        option, joint = "--" + ".".join(path).replace("_", "-"), " "
    if first["type"] in _SENTENCES:
        joint = ": "
    return UserError(f"{option}{joint}{mistake_of(first)}")


_SENTENCES = ("literal_error", "extra_forbidden", "value_error")
"""Mistakes whose words do not begin with the value."""


def mistake_of(error: ErrorDetails) -> str:
    """Say what is wrong with a value, and the nearest right one if there is a list; not which field it is."""
    value = error["input"]
    if error["type"] == "literal_error":
        known = [k.strip("' ") for k in error["ctx"]["expected"].replace(" or ", ",").split(",")]
        return f"unknown value {value!r}; {nearest(str(value), known)}"
    if error["type"] == "extra_forbidden":
        return "no such field"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{value!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def positive(owner: str, name: str, value: float) -> float:
    """Return `value` as a float.

    Raises:
        UserError: it is not a finite number above 0; `owner` and `name` say which option it is.
    """
    if not _is_number(value) or not 0 < value < math.inf:
        raise UserError(f"{owner}: {name} must be a finite number above 0, got {value!r}")
    return float(value)


def not_negative(owner: str, name: str, value: float) -> float:
    """Return `value` as a float.

    Raises:
        UserError: it is not a finite number of at least 0.
    """
    if not _is_number(value) or not 0 <= value < math.inf:
        raise UserError(f"{owner}: {name} must be a finite number of at least 0, got {value!r}")
    return float(value)


def fraction(owner: str, name: str, value: float, why: str) -> float:
    """Return `value` as a float.

    Raises:
        UserError: it is not in [0, 1); `why` explains the meaning of 1 and above.
    """
    if not _is_number(value) or not 0 <= value < 1:
        reason = f": {why}" if _is_number(value) and value >= 1 else ""
        raise UserError(f"{owner}: {name} must be a number in [0, 1), got {value!r}{reason}")
    return float(value)


def whole_number(owner: str, name: str, value: int, lowest: int, highest: int | None = None) -> int:
    """Return `value`.

    Raises:
        UserError: it is not a whole number from `lowest` to `highest` (None: without end).
    """
    whole = _is_number(value) and isinstance(value, int)
    if not whole or value < lowest or (highest is not None and value > highest):
        limits = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise UserError(f"{owner}: {name} must be a whole number {limits}, got {value!r}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
