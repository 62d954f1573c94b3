"""What the harness adds to a run: claim, record, evaluation, and reading it all again. Nothing is trained.

    python benchmarks/speed/harness.py                 # 1,000 runs
    python benchmarks/speed/harness.py --runs 10000

Jobs of the few-shot scenario go through the function that workers call, with a training that returns at once
and 600 made-up episodes each. Times are wall time in one process: what is written reaches the disk (fsync).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sla_bench.forms.fewshot import FORM
from sla_bench.grid import options_model, span
from sla_bench.harness.jobs import Job, perform
from sla_bench.harness.store import Store
from sla_bench.reporting.files import write_leaderboard
from sla_bench.scenarios.base import Evaluation, Training

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
        rng = np.random.default_rng(config.seed)
        rows = ROWS[config.method]
        about = {"accuracy": 0.6, "ci95_open": 0.02, "jackknife_se": None}
        about |= {"support_passes": 1, "query_passes": 1}
        samples = {f"hits/{r}": rng.binomial(15, 0.6, (self.episodes, 5)).astype(np.uint8) for r in rows}
        return Evaluation(dict.fromkeys(rows, about), samples)


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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        jobs = jobs_of(options.runs, out)
        scenario, each = NoScenario(), []
        for job in jobs:
            started = time.perf_counter()
            perform(job, lambda *_: None, scenario)
            each.append(1e3 * (time.perf_counter() - started))
        low, median, high = np.quantile(each, (0.05, 0.5, 0.95))
        spread = f"median {median:.1f}, {low:.1f} to {high:.1f}"
        print(f"{len(jobs)} runs: {np.mean(each):.1f} ms per run ({spread})")
        store = Store(out, "fewshot")
        for what, do in (
            ("records, read for the first time", store.records),
            ("records, read again", store.records),
            ("leaderboard, for the first time", lambda: write_leaderboard(store)),
            ("leaderboard, again", lambda: write_leaderboard(store)),
        ):
            started = time.perf_counter()
            found = len(do())
            print(f"{what}: {time.perf_counter() - started:.2f} s ({found})")


if __name__ == "__main__":
    main()
