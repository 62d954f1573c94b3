"""Time of a training episode of MAML, by inner steps and order; needs learn2learn.

    python benchmarks/speed/inner_loop.py                # two minutes

A 5-way 5-shot episode of random images with 10 queries per class, conv4-32, 32 px, one thread: forward and
backward. SLA has four times the ways and images.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.costs import Cost, add_option, write_costs
from sla_bench.models.heads.maml import MAML
from sla_bench.registry import BACKBONES

SIZE, WAYS, SHOTS, QUERIES, VIEWS = 32, 5, 5, 10, 4
STEPS = (1, 3, 5)


def milliseconds(steps: int, first_order: bool, views: int, rounds: int) -> list[float]:
    """Of each training episode but the first."""
    generator = torch.Generator().manual_seed(0)
    network = BACKBONES.load("conv4-32")(SIZE, generator=generator)
    maml = MAML(inner_steps=steps, inner_rate=0.05, first_order=first_order)
    labels = torch.arange(WAYS * views)
    supports, queries = (labels.repeat_interleave(k)[None] for k in (SHOTS, QUERIES))
    images = torch.randn(1, supports.shape[1] + queries.shape[1], 3 * SIZE**2, generator=generator)
    support, query = images.split([supports.shape[1], queries.shape[1]], dim=1)
    taken = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        logits = maml(network, support, supports, query, len(labels))
        F.cross_entropy(logits.flatten(0, 1), queries[0]).backward()
        taken.append(1e3 * (time.perf_counter() - started))
    return taken[1:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    costs = []
    for first_order in (True, False):
        for steps in STEPS:
            setting = f"{steps} steps, {'first' if first_order else 'second'} order"
            for what, views in (("baseline", 1), ("SLA", VIEWS)):
                taken = milliseconds(steps, first_order, views, options.rounds)
                median = statistics.median(taken)
                print(f"{setting}, {what}: {median:,.0f} ms", flush=True)
                costs.append(Cost(setting, what, median, "ms", min(taken), max(taken)))
    write_costs(options.csv, costs)


if __name__ == "__main__":
    main()
