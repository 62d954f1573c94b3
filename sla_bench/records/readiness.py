"""Jobs that can run: pieces installed, data large enough."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from sla_bench.config import RunConfig
from sla_bench.data.base import By, Dataset, Split
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.grids.settings import PIECES
from sla_bench.grids.tasks import REGISTRIES, Task, form_of
from sla_bench.models.peers import RECIPE
from sla_bench.records.environment import has_bf16_instructions, has_gpu_driver
from sla_bench.records.jobs import Job
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios import pretraining


def split_by_requirements(
    jobs: Iterable[Job], elsewhere: bool = False
) -> tuple[list[Job], dict[str, list[Job]]]:
    """Return the jobs that can be done here, and a sentence -> the jobs that it keeps from being done.

    Args:
        jobs: to do.
        elsewhere: their machines may have other processors than this one.
    """
    ready: list[Job] = []
    lacking: dict[str, list[Job]] = {}
    installed = importlib.util.find_spec("learn2learn") is not None
    emulates_bf16 = not elsewhere and has_bf16_instructions() is False
    for job in jobs:
        names = [] if installed else _pieces_of_learn2learn(job.run)
        if names:
            lacking.setdefault(f"{names[0]} needs learn2learn; install it with: {RECIPE}", []).append(job)
        elif emulates_bf16 and job.run.precision == "bf16" and _is_on_cpu(job):
            lacking.setdefault(_NO_BF16, []).append(job)
        else:
            ready.append(job)
    return ready, lacking


_NO_BF16 = (
    "precision bf16: this processor has no bf16 instructions, and emulates them many times slower than fp32; "
    "add --precision fp32 (--budget fast computes in bf16), or use a GPU"
)


def _is_on_cpu(job: Job) -> bool:
    return job.device == "cpu" or (job.device == "auto" and not has_gpu_driver())


def _pieces_of_learn2learn(run: RunConfig) -> list[str]:
    """As in "learner 'maml'"."""
    found = []
    for piece in PIECES:
        name = getattr(run, piece, None)
        if name is not None and REGISTRIES[piece][name].needs_learn2learn:
            found.append(f"{piece} {name!r}")
    return found


def check_data(tasks: Sequence[Task], data_root: Path) -> Iterator[str]:
    """Yield lines for the user: how the data are understood, what is unusual, and which tasks will fail.

    Args:
        tasks: of any scenarios.
        data_root: folder of the data files.

    Raises:
        UserError: data are missing, damaged or not understood, or cannot serve any task of a scenario.
    """
    seeds: dict[tuple[str, By], int] = {}
    for task in tasks:
        for name in (task.run.dataset, *(e.tested_elsewhere for e in task.evaluations)):
            if name is not None:
                seeds.setdefault((name, SCENARIOS[task.run.scenario].by), task.run.seed)
    pinned = {name: dataset_named(name).pinned() for name, _ in seeds}
    said = [s for (name, by), seed in seeds.items() for s in pinned[name].reading_lines(by, data_root, seed)]
    yield from dict.fromkeys(said)
    for scenario in dict.fromkeys(task.run.scenario for task in tasks):
        yield from _check_sizes([task for task in tasks if task.run.scenario == scenario], pinned, data_root)
    said = [sentence for name, by in seeds for sentence in pinned[name].remarks(data_root, by)]
    yield from dict.fromkeys(said)


def _check_sizes(tasks: Sequence[Task], datasets: Mapping[str, Dataset], data_root: Path) -> list[str]:
    """Say which tasks will fail because the classes are too few or too small.

    Returns:
        Lines for the user.

    Raises:
        UserError: data are missing or damaged, or cannot serve any of the tasks.
    """

    @functools.cache
    def known(by: By, seed: int, name: str, split: Split) -> dict[str, int]:
        return datasets[name].class_sizes(split, by, data_root, seed)

    def sizes(by: By, seed: int, name: str, split: Split) -> dict[str, int]:
        return known(by, seed if by == "classes" and datasets[name].split_depends_on_seed else 0, name, split)

    lines: dict[str, None] = {}
    refused: list[UserError] = []
    for task in tasks:
        run, form = task.run, form_of(task.run.scenario)
        try:
            sizes_of = partial(sizes, SCENARIOS[run.scenario].by, run.seed)
            lines |= dict.fromkeys(form.check_sizes(run, task.evaluations, sizes_of))
            lines |= dict.fromkeys(pretraining.notes(run, partial(sizes_of, run.dataset, "test")))
        except UserError as error:
            refused.append(error)
            lines[f"{run.method} will fail: {error}"] = None
    if refused and len(refused) == len(tasks):
        raise refused[0]
    return list(lines)
