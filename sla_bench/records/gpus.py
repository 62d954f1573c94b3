"""Places for runs on GPUs, each with cores of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from sla_bench.config import Acceleration
from sla_bench.errors import UserError
from sla_bench.records.environment import has_gpu_driver
from sla_bench.records.jobs import pick_device
from sla_bench.records.launch_options import Launch


@dataclass(frozen=True)
class Place:
    """Where a worker computes.

    Args:
        number: of the place.
        device: a GPU; None: that of the job.
        cores: the only ones that the worker may use, so that workers do not wait for each other; none: all.
    """

    number: int = 0
    device: str | None = None
    cores: tuple[int, ...] = ()

    def take(self) -> None:
        """Bind this process to the cores, where the system can."""
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)


def uses_gpus(settings: Launch) -> bool:
    """Whether runs are meant for a GPU, as far as can be told without torch, which takes seconds to load."""
    return settings.device.startswith("cuda") or (settings.device == "auto" and has_gpu_driver())


def places_of(settings: Launch) -> list[Place]:
    """Return a place for each run that shares the GPUs of this machine; none where runs are done on CPUs.

    Without a share or a number of workers each GPU takes one run.

    Raises:
        UserError: this machine has no such device, or no GPU that could be shared.
    """
    devices = _gpus(settings)
    if not devices:
        if settings.gpus_per_run:
            raise UserError(
                f"--gpus-per-run {settings.gpus_per_run:g}: no NVIDIA GPU here; leave the option out"
            )
        return []
    share = settings.gpus_per_run
    runs = len(devices) * int(1 / share + 1e-9) if share else settings.workers or len(devices)
    return shared_places(devices, min(runs, settings.workers or runs), usable_core_numbers())


def shared_places(devices: Sequence[str], runs: int, cores: Sequence[int]) -> list[Place]:
    """Spread runs over devices in turn, and cores over the runs; a core is shared where there are too few.

    Args:
        devices: names of GPUs.
        runs: at a time.
        cores: numbers of those that this process may use; empty where the system does not bind processes.
    """
    own = [tuple(cores[k::runs]) or (cores[k % len(cores)],) if cores else () for k in range(runs)]
    return [Place(k, devices[k % len(devices)], own[k]) for k in range(runs)]


def acceleration_of(settings: Launch) -> tuple[Acceleration, str]:
    """Return how backbones are run, and a sentence where they can't be run as asked."""
    if settings.capture:
        return "captured", ""
    if not settings.compile:
        return "eager", ""
    lacks = [] if _has_compiler() else ["a C++ compiler (g++ or clang++, or what $CXX names)"]
    if uses_gpus(settings) and importlib.util.find_spec("triton") is None:
        lacks.append("triton")
    if lacks and not settings.elsewhere:
        return "eager", f"--compile: {' and '.join(lacks)} not found here; the runs continue without it"
    return "compiled", ""


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "", "g++", "clang++"))


def usable_core_numbers() -> list[int]:
    """Numbers of the cores that this process may use; none where the system does not bind processes."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _gpus(settings: Launch) -> list[str]:
    if settings.device == "cpu" or (settings.device == "auto" and not has_gpu_driver()):
        return []
    # Also other devices than GPUs are looked for here.
    device = pick_device(settings.device)
    if device.type != "cuda":
        return []
    import torch

    every = range(torch.cuda.device_count())
    return [f"cuda:{k}" for k in (every if device.index is None else [device.index])]
