"""How the data of some tasks are understood, and whether they can serve them, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sla_bench.datasets.base import By, Dataset, Split
from sla_bench.datasets.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.grid import Task, form_of
from sla_bench.registry import SCENARIOS


def reading_lines(tasks: Iterable[Task], data_root: Path) -> Iterator[str]:
    """Yield lines that say how the files of each data set are understood and which are left out.

    Raises:
        UserError: the files cannot be understood.
    """
    seen = set()
    for task in tasks:
        key = task.run.dataset, SCENARIOS[task.run.scenario].by
        if key not in seen:
            seen.add(key)
            yield from dataset_named(key[0]).reading_lines(key[1], data_root, task.run.seed)


def check_sizes(tasks: Sequence[Task], data_root: Path) -> list[str]:
    """Say which tasks will fail because the classes are too few or too small.

    Returns:
        Lines for the user.

    Raises:
        UserError: data are missing or damaged, or cannot serve any of the tasks.
    """
    known: dict[tuple[str, Split, By, int], dict[str, int]] = {}
    datasets: dict[str, Dataset] = {}
    lines: dict[str, None] = {}
    refused: list[UserError] = []
    for task in tasks:
        run, form = task.run, form_of(task.run.scenario)
        if form.check_sizes is None:
            continue
        by = SCENARIOS[run.scenario].by
        dataset = datasets.get(run.dataset) or dataset_named(run.dataset).pinned()
        datasets[run.dataset] = dataset
        seed = run.seed if by == "classes" and dataset.split_depends_on_seed else 0

        def sizes_of(split: Split, name: str = run.dataset, by: By = by, seed: int = seed) -> dict[str, int]:
            key = name, split, by, seed
            if key not in known:
                known[key] = datasets[name].class_sizes(split, by, data_root, seed)
            return known[key]

        try:
            lines |= dict.fromkeys(form.check_sizes(run, task.evaluations, sizes_of))
        except UserError as error:
            refused.append(error)
            lines[f"{run.method} will fail: {error}"] = None
    if refused and len(refused) == len(tasks):
        raise refused[0]
    return list(lines)
