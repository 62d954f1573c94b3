"""Options of preparing a data set, and progress on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sla_bench.errors import UserError


@dataclass(frozen=True)
class Preparation:
    """How images are decoded; the pixels are the same for any number of workers.

    Args:
        workers: threads; None: one per core.
        skip_bad: images that can't be decoded are left out and noted; else the first one stops the
            preparation.

    Raises:
        UserError: fewer than one worker.
    """

    workers: int | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers must be at least 1, got {self.workers}")

    def refuse_skip_bad(self, what: str) -> None:
        """Refuse `skip_bad` where there are no image files.

        Raises:
            UserError: it is set.
        """
        if self.skip_bad:
            raise UserError(f"{what} has no image files that could be bad: leave out --skip-bad")


IN_THREADS = Preparation()


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
