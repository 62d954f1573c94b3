"""Time of computing a leaderboard from records in memory, as `sla_bench leaderboard` does after reading them.

    python benchmarks/speed/leaderboard.py               # 10,000 runs: half a minute
    python benchmarks/speed/leaderboard.py --runs 2000

Few-shot runs of baseline and SLA over learners, learning rates and ten seeds, 600 test episodes each, with
made-up hits. The time is of keys, statistics and the table, in CPU seconds and on the clock.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from sla_bench.config import PROTOCOL_VERSION
from sla_bench.forms.fewshot import FORM
from sla_bench.grid import options_model, span
from sla_bench.harness.store import EvaluationRecord, RunRecord
from sla_bench.reporting.leaderboard import leaderboard

ROWS = {"baseline": ("baseline", "baseline+TTA"), "sla": ("SLA+AG", "SLA+SI", "SLA+plain", "SLA+plain+TTA")}
LEARNERS = ["protonet", "metaoptnet-rr", "metaoptnet-svm"]
SEEDS, EPISODES, WAYS, QUERIES = 10, 600, 5, 15


def made_up_runs(count: int) -> list[RunRecord]:
    """Records that exist in memory only, with the samples that a file would hold."""
    rng = np.random.default_rng(0)
    options = options_model(FORM)(method=list(ROWS), learner=LEARNERS, seed=list(range(SEEDS)))
    records: list[RunRecord] = []
    while len(records) < count:
        rate = 1e-4 * (1 + len(records))
        for task in span(FORM, options.model_dump(), [f"learning_rate={rate}", f"episodes={EPISODES}"]):
            (test,) = task.evaluations
            rows = ROWS[task.run.method]
            about = {"ci95_open": 0.02, "jackknife_se": 0.01, "support_passes": 1, "query_passes": 1}
            evaluation = EvaluationRecord(Path(), test, dict.fromkeys(rows, about), "", PROTOCOL_VERSION)
            # where the cached property keeps what it has read
            vars(evaluation)["samples"] = {
                f"hits/{row}": rng.binomial(QUERIES, 0.6, (EPISODES, WAYS)).astype(np.uint8) for row in rows
            }
            done = {"train_images": 75_000, "train_seconds": 60.0, "parameters": 113_088}
            records.append(RunRecord(f"{len(records):012x}", Path(), task.run, done, (evaluation,)))
    return records[:count]


def main() -> None:
    """Time the leaderboard of made-up runs and print the fastest of some rounds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    records = made_up_runs(arguments.runs)
    times = []
    for _ in range(arguments.rounds):
        clock, cpu = time.perf_counter(), time.process_time()
        rows = len(leaderboard(records))
        times.append((time.process_time() - cpu, time.perf_counter() - clock))
    cpu, clock = min(times)
    print(f"{arguments.runs} runs, {rows} rows: {cpu:.2f} s of CPU, {clock:.2f} s on the clock")


if __name__ == "__main__":
    main()
