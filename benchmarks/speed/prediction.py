"""Cost of predicting 10,000 images by all views and by the distilled head, against single inference.

    python benchmarks/speed/prediction.py                       # ResNet-8 of 32 px, one thread: some minutes
    python benchmarks/speed/prediction.py --backbone conv4 --images 2000

Random images and weights. The modes are timed in turn, in processor seconds, and the images that pass
through the backbone are counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.costs import Cost, add_option, write_costs
from sla_bench.data.base import ImageProperties
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.objectives.classes import Classes, OnClasses
from sla_bench.registry import BACKBONES, METHODS, TRANSFORMS
from sla_bench.scenarios.classify.classifier import ClassifierModel
from sla_bench.scenarios.classify.prediction import Classifier

SIZE, CLASSES = 32, 20
MEASURED = (("sla", "si"), ("sla", "ag"), ("sla+sd", "sd"), ("sla+sd", "ag"))


def build(method: str, backbone: str) -> Classifier:
    """A classifier with random weights."""
    classes = Classes(torch.full((CLASSES,), 100), CrossEntropy)
    network = BACKBONES.load(backbone)(SIZE)
    objective = OnClasses(METHODS.load(method), network.num_features, classes, TRANSFORMS.load("rotation"))
    names = tuple(f"class {k}" for k in range(CLASSES))
    return Classifier([ClassifierModel(network, objective)], names, ImageProperties(SIZE))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="resnet8")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (options.images, SIZE, SIZE, 3), dtype=np.uint8)
    classifiers = {method: build(method, options.backbone) for method in ("sla", "sla+sd")}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in MEASURED}
    rows: dict[tuple[str, str], int] = dict.fromkeys(MEASURED, 0)
    for round_ in range(options.rounds):
        for method, mode in MEASURED[:: 1 if round_ % 2 == 0 else -1]:
            seen: list[int] = []
            (model,) = classifiers[method]._models  # noqa: SLF001 - its passes are counted
            hook = model.backbone.register_forward_pre_hook(
                lambda _, given, seen=seen: seen.append(len(given[0]))
            )
            started = time.process_time()
            classifiers[method].predict(images, mode)
            seconds[method, mode].append(time.process_time() - started)
            hook.remove()
            rows[method, mode] = sum(seen)
    single = statistics.median(seconds["sla", "si"])
    setting, costs = f"{options.backbone}, {options.images:,} images of {SIZE} px", []
    print(f"{setting}, {options.rounds} rounds, one thread")
    for method, mode in MEASURED:
        median = statistics.median(seconds[method, mode])
        print(
            f"{method:7} {mode}: {median:6.2f} s, {median / single:4.2f} x single inference, "
            f"{rows[method, mode] / options.images:g} passes per image"
        )
        spread = min(seconds[method, mode]), max(seconds[method, mode])
        costs.append(Cost(setting, f"{method} {mode}", median, "s of the processor", *spread))
    write_costs(options.csv, costs)


if __name__ == "__main__":
    main()
