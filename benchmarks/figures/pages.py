"""Places of measured values on a page, and their correct content."""

# A place is between two comments, which no reader of the page sees, on lines of their own or inside a
# sentence:
# <!-- figures: NAME --> text that the template NAME makes from the tables <!-- end -->

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sla_bench.errors import UserError

_BEGIN = re.compile(r"<!--\s*figures:\s*(\S+)\s*-->")
_END = "<!-- end -->"


@dataclass(frozen=True)
class Difference:
    """A line that is not what the tables say.

    Args:
        page: the file.
        line: counted from 1.
        template: what makes the text of the place.
        written: the line as it is; empty where one is missing.
        measured: the line as it would be.
    """

    page: Path
    line: int
    template: str
    written: str
    measured: str

    def __str__(self) -> str:
        return (
            f"{self.page}:{self.line}: {self.written!r} is not {self.measured!r} "
            f"(benchmarks/figures/templates/{self.template}.md)"
        )


@dataclass(frozen=True)
class Place:
    """Where in the text of a page the figures of a template stand: from `start` to before `stop`."""

    template: str
    start: int
    stop: int


def places(page: Path, text: str) -> list[Place]:
    """All places of a page, from top to bottom.

    Raises:
        UserError: a place has no end, or there is an end without a beginning.
    """
    found: list[Place] = []
    position = 0
    while begin := _BEGIN.search(text, position):
        stop = text.find(_END, begin.end())
        following = _BEGIN.search(text, begin.end())
        if stop < 0 or (following and following.start() < stop):
            raise UserError(f"{page}:{_line(text, begin.start())}: {begin[0]} has no {_END}")
        _no_end(page, text, position, begin.start())
        found.append(Place(begin[1], begin.end(), stop))
        position = stop + len(_END)
    _no_end(page, text, position, len(text))
    return found


def filled(page: Path, text: str, render: Callable[[str], str]) -> str:
    """The text of a page with all figures as they are measured.

    Args:
        page: the file, for messages.
        text: what is in it.
        render: template -> its text, without line breaks at its ends.

    Raises:
        UserError: as `places` and `render`; the page and the line are named.
    """
    parts, position = [], 0
    for place in places(page, text):
        written = text[place.start : place.stop]
        try:
            measured = render(place.template)
        except UserError as error:
            raise UserError(f"{page}:{_line(text, place.start)}: {error}") from None
        apart = "\n" if written.startswith("\n") else ""
        parts += [text[position : place.start], apart, measured, apart]
        position = place.stop
    return "".join([*parts, text[position:]])


def differences(page: Path, text: str, render: Callable[[str], str]) -> list[Difference]:
    """The first line of each place that is not what the tables say.

    Raises:
        UserError: as `filled`.
    """
    new = filled(page, text, render)
    found = []
    for old_place, new_place in zip(places(page, text), places(page, new), strict=True):
        old_lines = text[old_place.start : old_place.stop].split("\n")
        new_lines = new[new_place.start : new_place.stop].split("\n")
        rows = range(max(len(old_lines), len(new_lines)))
        pairs = [tuple(lines[k] if k < len(lines) else "" for lines in (old_lines, new_lines)) for k in rows]
        unlike = [k for k in rows if pairs[k][0] != pairs[k][1]]
        if unlike:
            line = _line(text, old_place.start) + unlike[0]
            found.append(Difference(page, line, old_place.template, *pairs[unlike[0]]))
    return found


def _no_end(page: Path, text: str, start: int, stop: int) -> None:
    stray = text.find(_END, start, stop)
    if stray >= 0:
        raise UserError(f"{page}:{_line(text, stray)}: {_END} without <!-- figures: NAME -->")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
