"""Progress of long conversions, on the terminal where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""


@contextmanager
def terminal_progress(what: str, line: bool = True) -> Iterator[Progress]:
    """A progress bar on standard error; where that is not a terminal, one plain line if `line` is true."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        if line:
            console.print(what, markup=False, soft_wrap=True)
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def note(sentence: str) -> None:
    """One line on standard error that stays."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(sentence, markup=False, soft_wrap=True)
