"""Training steps against the machine's own limit, one part of a minute or so after the other.

    python benchmarks/speed/limits.py --csv results/limits.csv        # all parts, below ten minutes
    python benchmarks/speed/limits.py --part steps

limit   the best rate of a matrix product and a wide convolution, fp32 and bf16, on one thread
steps   the whole step of the suite (batches, views, backbone, loss, optimiser, checks) as a share of that
        rate, by the operations of its convolutions and products; SLA's step over its baseline's
between the part of an airbench step that is not spent in kernels
kinds   shares of a step's time: convolutions and products, normalisation, activations and pooling, the rest
threads seconds of a step on all cores over those on one
run     `run fewshot --shots 5 --budget quick` with images drawn before: wall time, and idle core time
plan    idle core time of benchmarks/fewshot-quick.yaml, planned from the steps of this machine
harness `benchmarks/speed/harness.py --runs 10000`: the first table of records made elsewhere

Everything runs in this process in turn, but for the last three parts.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.costs import Cost, add_option, write_costs
from sla_bench.config import StandardRun
from sla_bench.data.base import LabeledImages
from sla_bench.data.named import dataset_named
from sla_bench.data.splits import Subset
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.objectives.classes import Classes
from sla_bench.records.cores import usable_cores
from sla_bench.records.environment import has_bf16_instructions, let_workers_keep_memory
from sla_bench.scenarios.classify.classifier import build_classifier, train_classifier
from sla_bench.views.augment import ImageBatches

ROOT = Path(__file__).resolve().parents[2]
BACKBONES = ("airbench", "resnet32-sla", "conv4")
IMAGES, CLASSES, BATCH, WARM_UP = 5_000, 100, 128, 3
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class _EnoughError(Exception):
    pass


def precisions() -> list[str]:
    """fp32, and bf16 where the processor has the instructions."""
    return ["fp32", "bf16"] if has_bf16_instructions() else ["fp32"]


def median_seconds(do: Callable[[], object], rounds: int) -> float:
    """Median of some rounds after a first one that warms up."""
    taken = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        do()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken[1:]))


def best_rate(precision: str, rounds: int = 7) -> float:
    """Billions of operations a second of the fastest of three large dense kernels."""
    kind = TYPES[precision]
    rates = []
    with torch.no_grad():
        for size in (1024, 2048):
            a, b = (torch.randn(size, size, dtype=kind) for _ in range(2))
            rates.append(2 * size**3 / median_seconds(lambda a=a, b=b: a @ b, rounds) / 1e9)
        maps = torch.randn(64, 256, 16, 16, dtype=kind).to(memory_format=torch.channels_last)
        filters = torch.randn(256, 256, 3, 3, dtype=kind).to(memory_format=torch.channels_last)
        seconds = median_seconds(lambda: F.conv2d(maps, filters, padding=1), rounds)
        rates.append(2 * maps.numel() * 256 * 9 / seconds / 1e9)
    return max(rates)


def training(backbone: str, precision: str, method: str, progress: Callable[..., None]) -> None:
    """Train with the suite's own code until `progress` raises."""
    dataset = dataset_named("cifar100")
    size = dataset.properties.size
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, size, size, 3), dtype=np.uint8)
    images = LabeledImages(pixels, np.arange(IMAGES) % CLASSES, tuple(map(str, range(CLASSES))))
    values: dict[str, Any] = {"precision": precision, "backbone": backbone, "method": method}
    config = StandardRun(dataset="cifar100", optimizer="sgd", batch_size=BATCH, **values)
    data = Subset(images, np.arange(IMAGES))
    classes = Classes(torch.from_numpy(data.counts), CrossEntropy)
    model = build_classifier(config, dataset, classes, "rotation", 0)
    batches = ImageBatches(images, dataset.properties)
    try:
        train_classifier(config, model, data, batches, 10**6, 0, progress=progress)
    except _EnoughError:
        return


def step_seconds(backbone: str, precision: str, method: str, steps: int) -> list[float]:
    """Seconds of each of so many whole steps, after some that warm up."""
    times: list[float] = []

    def progress(phase: str, done: int, total: int, note: str = "") -> None:
        times.append(time.perf_counter())
        if done == WARM_UP + steps:
            raise _EnoughError

    training(backbone, precision, method, progress)
    return np.diff(times[WARM_UP - 1 :]).tolist()


def operations(backbone: str) -> float:
    """Operations of convolutions and products in a baseline's step, forward and backward."""
    counter = FlopCounterMode(display=False)

    def progress(phase: str, done: int, total: int, note: str = "") -> None:
        raise _EnoughError

    with counter:
        training(backbone, "fp32", "baseline", progress)
    return float(counter.get_total_flops())


def limit_part() -> Iterator[Cost]:
    """The limit itself."""
    for precision in precisions():
        yield Cost("", f"limit, {precision}", best_rate(precision), "billion operations/s")


def steps_part() -> Iterator[Cost]:
    """Shares of the limit, and the factor of SLA; limit and steps in turn."""
    for backbone, precision in itertools.product(BACKBONES, precisions()):
        needed = operations(backbone)
        limit = best_rate(precision, 3)
        own = step_seconds(backbone, precision, "baseline", 12)
        limit = max(limit, best_rate(precision, 3))
        low, middle, high = np.quantile(own, (0.25, 0.5, 0.75))
        what = f"{backbone}, {precision}"
        yield Cost("", f"step, {what}", 1e3 * middle, "ms", 1e3 * low, 1e3 * high)
        yield Cost("", f"share of the limit, {what}", needed / middle / 1e9 / limit, "")
        sla = float(np.median(step_seconds(backbone, precision, "sla", 9)))
        yield Cost("", f"SLA step over baseline, {what}", sla / middle, "x")


def between_part() -> Iterator[Cost]:
    """Wall time of steps that no operator of torch takes, of airbench in the fastest precision."""
    precision = precisions()[-1]
    counted: dict[str, float] = {}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        started = time.perf_counter()
        step_seconds("airbench", precision, "baseline", 15)
        counted["with the profiler"] = time.perf_counter() - started
    inside = sum(one.self_cpu_time_total for one in profile.key_averages()) / 1e6
    # The profiler itself works between kernels, so this is an upper bound.
    outside = 1 - inside / counted["with the profiler"]
    yield Cost("", f"not in kernels, airbench, {precision}", 100 * outside, "%")


KINDS = {
    "convolutions and products": ("convolution", "mm", "linear"),
    "normalisation": ("batch_norm",),
    "activations and pooling": ("pool", "relu", "clamp_min", "threshold", "gelu"),
}


def profiled(backbone: str) -> torch.profiler.profile:
    """Operators of eight fp32 steps of a baseline."""
    profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])

    def progress(phase: str, done: int, total: int, note: str = "") -> None:
        if done == WARM_UP:
            profile.start()
        elif done == WARM_UP + 8:
            profile.stop()
            raise _EnoughError

    training(backbone, "fp32", "baseline", progress)
    return profile


def kinds_part() -> Iterator[Cost]:
    """Shares of the time inside operators of a step; filling and copying is in the rest."""
    for backbone in BACKBONES:
        taken = dict.fromkeys([*KINDS, "the rest"], 0.0)
        for one in profiled(backbone).key_averages():
            kinds = (kind for kind, parts in KINDS.items() if any(part in one.key for part in parts))
            taken[next(kinds, "the rest")] += one.self_cpu_time_total
        for kind, time_of_it in taken.items():
            yield Cost("", f"{kind}, {backbone}, fp32", 100 * time_of_it / sum(taken.values()), "%")


def threads_part() -> Iterator[Cost]:
    """What several threads gain: the planner takes 0.6 on two."""
    cores = usable_cores()
    if cores < 2:
        return
    for backbone in BACKBONES:
        precision = precisions()[-1]
        one = float(np.median(step_seconds(backbone, precision, "sla", 3)))
        torch.set_num_threads(min(cores, 4))
        several = float(np.median(step_seconds(backbone, precision, "sla", 3)))
        torch.set_num_threads(1)
        yield Cost("", f"{min(cores, 4)} threads over one, SLA of {backbone}", several / one, "x")


def run_part() -> Iterator[Cost]:
    """The default run, its images drawn before."""
    with tempfile.TemporaryDirectory() as folder:
        base = [sys.executable, "-m", "sla_bench", "run", "fewshot", "--shots", "5"]
        base += ["--data-root", f"{folder}/data"]
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        first = [*base, "--budget", "smoke", "--out", f"{folder}/first"]
        subprocess.run(first, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, env=environment)
        before, started = os.times(), time.perf_counter()
        command = [*base, "--out", f"{folder}/results"]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, env=environment)
        wall, after = time.perf_counter() - started, os.times()
    worked = after.children_user + after.children_system - before.children_user - before.children_system
    yield Cost("", "run fewshot --shots 5", wall, "s")
    yield Cost("", "idle core time of it", 100 * (1 - worked / wall / usable_cores()), "%")


def plan_part() -> Iterator[Cost]:
    """The grid's idle time by the planner's own simulation, each run as long as its images."""
    from sla_bench.grids.files import open_grid_file
    from sla_bench.records.jobs import Job
    from sla_bench.records.launch_options import Launch
    from sla_bench.records.planning import plan, relative_seconds, room_of, seconds_on, wall_seconds

    grids = open_grid_file(ROOT / "benchmarks" / "fewshot-quick.yaml", True, elsewhere=())
    runs = [task.run for tasks in grids.tasks().values() for task in tasks]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        jobs = [Job(run.digest(), run, {}, "", "", out, out, "cpu") for run in runs]
        jobs.sort(key=lambda job: job.run.seed)
        settings = Launch()
        planned = plan(jobs, [], settings)
    room, found = room_of(settings), planned.jobs
    costs = relative_seconds(planned.estimate, [job.run for job in found])
    work = [(cost, job.threads) for cost, job in zip(costs, found, strict=True)]
    wall, _ = wall_seconds(work, room)
    busy = sum(threads * seconds_on(threads, cost) for cost, threads in work)
    yield Cost("", "idle core time of fewshot-quick.yaml, planned", 100 * (1 - busy / wall / room.cores), "%")


def harness_part() -> Iterator[Cost]:
    """Ten thousand records; its own figures go to the terminal."""
    command = [sys.executable, "benchmarks/speed/harness.py", "--runs", "10000"]
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT)
    yield Cost("", "harness, 10,000 runs made and read", time.perf_counter() - started, "s")


PARTS = {
    "limit": limit_part,
    "steps": steps_part,
    "between": between_part,
    "kinds": kinds_part,
    "threads": threads_part,
    "run": run_part,
    "plan": plan_part,
    "harness": harness_part,
}


def main() -> None:
    """Print each figure as soon as it is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=list(PARTS), help="repeat for several (all)")
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.part or PARTS:
        costs = []
        for cost in PARTS[name]():
            costs.append(cost._replace(setting=name))
            print(f"{name}: {cost.what}: {cost.value:.3g} {cost.unit}", flush=True)
        write_costs(options.csv, costs)


if __name__ == "__main__":
    # What glibc reads at the start of a process decides how a step's memory is kept.
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        let_workers_keep_memory()
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
    main()
