"""Jobs whose pieces need a missing library, reported before any start."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from sla_bench.config import RunConfig
from sla_bench.grids.settings import PIECES
from sla_bench.grids.tasks import REGISTRIES
from sla_bench.models.peers import RECIPE
from sla_bench.records.jobs import Job


def split_by_requirements(jobs: Iterable[Job]) -> tuple[list[Job], dict[str, list[Job]]]:
    """Return the jobs that can be done here, and a sentence -> the jobs that it keeps from being done."""
    ready: list[Job] = []
    lacking: dict[str, list[Job]] = {}
    installed = importlib.util.find_spec("learn2learn") is not None
    for job in jobs:
        names = [] if installed else _pieces_of_learn2learn(job.run)
        if names:
            lacking.setdefault(f"{names[0]} needs learn2learn; install it with: {RECIPE}", []).append(job)
        else:
            ready.append(job)
    return ready, lacking


def _pieces_of_learn2learn(run: RunConfig) -> list[str]:
    """As in "learner 'maml'"."""
    found = []
    for piece in PIECES:
        name = getattr(run, piece, None)
        if name is not None and REGISTRIES[piece][name].needs_learn2learn:
            found.append(f"{piece} {name!r}")
    return found
