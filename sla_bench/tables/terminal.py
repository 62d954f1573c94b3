"""What a run shows on the terminal: progress, then the table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import rich.table
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from sla_bench.config import RunConfig
from sla_bench.grids.asked import Asked, asked_of
from sla_bench.records.launching import News
from sla_bench.tables.answers import Answer, answers
from sla_bench.tables.folding import folded
from sla_bench.tables.row_key import method_of
from sla_bench.tables.summaries import gains_over_cells, over_datasets
from sla_bench.tables.table_texts import (
    Table,
    accuracies_of,
    accuracy_table,
    blocks,
    cells_of,
    definitions,
    further_metrics,
    notes,
    rows_of,
    shown_headings,
    training_words,
)
from sla_bench.tables.view_results import ViewSetting
from sla_bench.tables.view_tables import GUIDE, WORDS_OF_VIEWS, view_tables
from sla_bench.words import one_line

_PLAIN_INTERVAL = 15.0
_MOST_ANSWERS = 3
_WORDS = {"setting", "learner", "method", "best", "against", "compared at", "verdict", *WORDS_OF_VIEWS}


def label(run: RunConfig) -> str:
    """Name a run in a few words that can be printed."""
    return f"{label_without_seed(run, asked_of(run))} seed {run.seed}"


def label_without_seed(run: RunConfig, asked: Asked) -> str:
    """Name what a run has in common with those of other seeds."""
    views = f" {run.transform}" if run.transform not in (None, "rotation") else ""
    shots = asked.columns["train_shots"]
    setting = f"{run.dataset} {asked.columns['learner']}" + ("" if shots is None else f" {shots}-shot")
    return one_line(f"{setting} {method_of(run)}{views}")


class Board:
    """Shows what the workers are doing: bars on a terminal, plain lines elsewhere.

    Args:
        total: number of runs to do.
        console: where to; stderr by default, so that a table can be piped.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.total, self.finished = total, 0
        self._bars: dict[str, TaskID] = {}
        self._lines: dict[str, float] = {}
        self._elsewhere: set[str] = set()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[phase]} {task.fields[count]} {task.fields[note]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Board:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def show(self, news: News) -> None:
        """Take news of a job."""
        key, name = news.job.run_id, label(news.job.run)
        if news.kind == "started":
            self._bars[key] = self._progress.add_task(name, total=None, phase="starting", count="", note="")
            self._lines[key] = time.monotonic()
        elif news.kind == "progress":
            self._progress.update(
                self._bars[key],
                completed=news.done,
                total=news.total,
                phase=news.phase,
                count=f"{news.done}/{news.total}",
                note=news.note,
            )
            now = time.monotonic()
            if not self.console.is_terminal and now - self._lines[key] >= _PLAIN_INTERVAL:
                self._lines[key] = now
                self._say(f"{name}: {news.phase} {news.done}/{news.total} {news.note}")
        else:
            self._progress.remove_task(self._bars.pop(key))
            if news.kind == "done":
                self.finished += 1
                self._say(f"{name}: done ({self.finished} of {self.total})")
            elif news.kind == "elsewhere":
                if key not in self._elsewhere:
                    self._elsewhere.add(key)
                    self._say(f"{name}: another command works on it")
            elif news.kind == "retrying":
                self._say(f"{name}: {news.note}; it is started again")
            else:
                self._say(f"{name}: FAILED: {news.note}")

    def _say(self, text: str) -> None:
        self.console.print(one_line(text), highlight=False, markup=False, soft_wrap=True)


def print_table(table: pd.DataFrame, console: Console | None = None, so_far: bool = False) -> None:
    """Print leaderboard rows: accuracies, a block per training, setting and learner; other metrics; answers.

    Args:
        table: rows of the leaderboard.
        console: where to; the standard output by default.
        so_far: others will follow, so that notes and answers wait for them.
    """
    console = console or Console(width=None if sys.stdout.isatty() else 180)
    if table.empty:
        console.print("no tests to show")
        return
    all_rows = rows_of(table)
    accuracies = folded(accuracies_of(all_rows))
    headings = [h for h in shown_headings(accuracies) if h not in ("setting", "learner")]
    for part in blocks(accuracies, "setting", "learner", "train_shots"):
        first = part[0]
        title = (
            f"{first['dataset']}, {cells_of(first)[0]}, {first['learner']}, "
            f"{training_words(first)}, {first['test_samples']:,.0f} test samples"
        )
        _print_block(console, replace(accuracy_table(part, headings), title=title))
    for part in blocks(all_rows):
        further = further_metrics(part)
        if further.lines:
            _print_block(console, further)
        for sentence in gains_over_cells(part):
            _print_text(console, sentence)
    if so_far:
        return
    for title, sentences in over_datasets(all_rows):
        for sentence in (f"Over data sets: {title}", *sentences):
            _print_text(console, sentence)
    for note in (*definitions(all_rows), *notes(all_rows)):
        _print_text(console, note)
    _print_answers(console, answers(all_rows))


def _print_answers(console: Console, found: Sequence[Answer]) -> None:
    """Of several settings those of primary contrasts, a few of them."""
    shown = [answer for answer in found if answer.is_primary] or found
    for answer in shown[:_MOST_ANSWERS]:
        title = f"Verdict on {answer.place}, {answer.training}: {answer.word}"
        console.print(title, style="bold", highlight=False, markup=False, soft_wrap=True)
        _print_text(console, " ".join(answer.sentences()))
    if others := len(found) - len(shown[:_MOST_ANSWERS]):
        _print_text(console, f"{others} other settings: `report` shows their answers.")


def print_views(settings: Sequence[ViewSetting], console: Console | None = None) -> None:
    """Print what was found on the views of test images, the tables of one setting after the other."""
    console = console or Console(width=None if sys.stdout.isatty() else 180)
    for setting in settings:
        for table in view_tables(setting):
            _print_block(console, table)
    _print_text(console, GUIDE)


def _print_text(console: Console, text: str) -> None:
    console.print(one_line(text), highlight=False, markup=False)


def _print_block(console: Console, table: Table) -> None:
    block = rich.table.Table()
    for place, heading in enumerate(map(one_line, table.headings)):
        if heading in _WORDS:
            block.add_column(heading, min_width=max(len(line[place]) for line in table.lines))
        else:
            block.add_column(heading, justify="right")
    for place, line in enumerate(table.lines):
        # As Text: a name in brackets is no markup.
        style = "bold" if place in table.bold else None
        block.add_row(*(Text(one_line(cell)) for cell in line), style=style)
    # The title of a rich table is broken at the table's width.
    console.print(one_line(table.title), style="bold", markup=False, highlight=False, soft_wrap=True)
    console.print(block)
