"""Overhead of the harness: claim, record, evaluation, and reading of a run that trains nothing.

    python benchmarks/speed/harness.py                 # 1,000 runs
    python benchmarks/speed/harness.py --runs 10000

Jobs of the few-shot scenario go through the function that workers call, with a training that returns at once
and 600 made-up episodes each. Each figure is wall time and CPU time of one process (the first leaderboard: of
a command that starts, and reads on all cores). What is written reaches the disk (fsync); on a machine that
does other things the CPU time says more. `--folder` chooses the disk. On ext4 a folder near which many files
were deleted within five minutes makes new files slow to create.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.costs import Cost, add_option, write_costs
from sla_bench.grids.tasks import options_model, span
from sla_bench.records.jobs import Job, perform
from sla_bench.records.launch_options import Launch
from sla_bench.records.store import Store
from sla_bench.scenarios.base import Evaluation, Training
from sla_bench.scenarios.fewshot.form import FORM
from sla_bench.tables.dry_run import dry_run_lines
from sla_bench.tables.files import write_leaderboard
from sla_bench.tables.report.page import write_report

IN_REPORT = 1000
SEEDS, LEARNERS = 10, ["protonet", "metaoptnet-rr", "metaoptnet-svm"]
ROWS = {"baseline": ("baseline", "baseline+TTA"), "sla": ("SLA+AG", "SLA+SI", "SLA+plain", "SLA+plain+TTA")}


@dataclass
class NoScenario:
    """A scenario that trains and tests nothing."""

    episodes: int = 600

    def run(self, config: Any, *_: Any) -> Training:
        """Weights of a few numbers, and a history of five rows."""
        history = [
            {"member": 0, "step": s, "train_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.5}
            for s in range(5)
        ]
        summary = {"train_images": 1000, "train_seconds": 1.0, "parameters": 64, "best_step": [4]}
        return Training({"members.0.weight": torch.zeros(64)}, history, summary)

    def evaluate(self, config: Any, *_: Any) -> Evaluation:
        """Random hits."""
        rows = ROWS[config.method]
        about = {"accuracy": 0.6, "ci95_open": 0.02, "jackknife_se": None}
        about |= {"support_passes": 1, "query_passes": 1}
        return Evaluation(dict.fromkeys(rows, about), _hits(rows, config.seed, self.episodes))


@functools.cache
def _hits(rows: tuple[str, ...], seed: int, episodes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"hits/{row}": rng.binomial(15, 0.6, (episodes, 5)).astype(np.uint8) for row in rows}


def jobs_of(runs: int, out: Path) -> list[Job]:
    """So many jobs: baseline and SLA, all learners, ten seeds, as many recipes as that takes."""
    jobs = []
    options = options_model(FORM)(learner=LEARNERS, seed=list(range(SEEDS))).model_dump()
    for k in range(-(-runs // (2 * len(LEARNERS) * SEEDS))):
        for task in span(FORM, options, [f"learning_rate={1e-4 * (k + 1):.6f}", "episodes=600"]):
            evaluations = {e.digest(data="none"): e for e in task.evaluations}
            run_id = task.run.digest(data="none")
            jobs.append(Job(run_id, task.run, evaluations, "none", "none", out, out, "cpu"))
    return jobs[:runs]


def main() -> None:
    """Print milliseconds per run, and seconds to read all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="below which results are written for a while")
    add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        out = Path(folder)
        store, jobs = Store(out, "fewshot"), jobs_of(options.runs, out)
        first, others = jobs[:IN_REPORT], jobs[IN_REPORT:]
        milliseconds = record(first)
        costs = twice(
            f"report of {len(first):,} runs", lambda: write_report([store], out / "report.html")[0].rows
        )
        store.cache_file.unlink()
        milliseconds += record(others)
        wall, cpu = np.array(milliseconds).T
        low, median, high = np.quantile(wall, (0.05, 0.5, 0.95))
        spread = f"median {median:.1f}, {low:.1f} to {high:.1f}"
        print(f"{len(jobs):,} runs: {wall.mean():.1f} ms per run ({spread}), CPU {cpu.mean():.1f} ms")
        setting = f"{len(jobs):,} runs"
        costs.append(Cost("", "a run", float(wall.mean()), "ms", float(low), float(high)))
        costs.append(Cost("", "a run", float(cpu.mean()), "ms of the processor"))
        # A command of its own reads on all cores: it has not loaded torch, which forbids a fork.
        command = [sys.executable, "-m", "sla_bench", "leaderboard", "--out", str(out)]
        costs.append(
            measure(
                f"leaderboard of {setting}, for the first time",
                lambda: subprocess.run(command, check=True, capture_output=True).stdout,
            )
        )
        costs.append(measure(f"leaderboard of {setting}, again", lambda: write_leaderboard(store)))
        costs.append(measure("records of it, again", store.records))
        one_more, settings = options.runs + 1, Launch(workers=2)
        costs.append(
            measure(
                "dry run, one run left",
                lambda: list(dry_run_lines(jobs_of(one_more, out), store, settings)),
            )
        )
    write_costs(options.csv, [cost._replace(setting=setting) for cost in costs])


def twice(what: str, do: Callable[[], Sized]) -> list[Cost]:
    """Measure something for the first time and again."""
    return [measure(f"{what}, {turn}", do) for turn in ("for the first time", "again")]


def measure(what: str, do: Callable[[], Sized]) -> Cost:
    """Print seconds of wall and CPU time, and how much came out."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = len(do())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what}: {wall:.2f} s, CPU {cpu:.2f} s ({found:,})", flush=True)
    return Cost("", what, wall, "s")


def record(jobs: list[Job]) -> list[tuple[float, float]]:
    """Do the jobs; milliseconds of wall and CPU time of each."""
    scenario, costs = NoScenario(), []
    for job in jobs:
        wall, cpu = time.perf_counter(), time.process_time()
        perform(job, lambda *_: None, scenario)
        costs.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    return costs


if __name__ == "__main__":
    main()
