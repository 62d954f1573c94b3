"""Processor time of a mix for a batch of 128 images of 32 px, on one thread.

python benchmarks/speed/mixing.py                # half a minute
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.costs import Cost, add_option, write_costs
from sla_bench.data.base import ImageProperties
from sla_bench.registry import MIXES

SIZE = 32
IMAGES_PER_DRAW = (1, 4, 16)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--calls", type=int, default=24)
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(options.images, SIZE, SIZE, 3, generator=generator).permute(0, 3, 1, 2)
    labels = torch.randint(10, (options.images,), generator=generator)
    costs = []
    for name, entry in MIXES.items():
        always = {"probability": 1.0} if "probability" in entry.options else {}
        settings = [{"images_per_draw": k} for k in IMAGES_PER_DRAW]
        for setting in settings if "images_per_draw" in entry.options else [always]:
            mix = MIXES.load(name)(ImageProperties(SIZE), **setting)
            milliseconds = []
            for _ in range(options.calls):
                started = time.process_time()
                mix(images, labels, generator)
                milliseconds.append(1e3 * (time.process_time() - started))
            median = statistics.median(milliseconds[5:])
            print(f"{name:14} {setting}: {median:7.2f} ms")
            what = " ".join([name, *(f"{option}={value:g}" for option, value in setting.items())])
            costs.append(Cost(f"batch {options.images}", what, median, "ms of the processor"))
    write_costs(options.csv, costs)


if __name__ == "__main__":
    main()
