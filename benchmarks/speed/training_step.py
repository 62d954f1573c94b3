"""Time of a training step of a classifier: share of the data work, cost of SLA, memory format, precision.

    python benchmarks/speed/training_step.py                   # ResNet-32, about four minutes
    python benchmarks/speed/training_step.py --backbone resnet8 --batch 64 --rounds 31

Random CIFAR-10-shaped uint8 images, one thread. A step gathers, crops, flips and normalises a batch, runs
forward and backward, and lets SGD with momentum update the weights. SLA runs the four rotations of each image
through the backbone and takes the cross entropy of the joint labels.

Two processes take turns, one step at a time: ours keeps freed memory as the suite's workers do
(`sla_bench/records/environment.py`); the plain one leaves the C library as it is and uses torch's default format.
The table gives medians over rounds, quartiles, and the ratio of medians to our baseline step (float32,
channels_last). Before anything is timed, the memory formats are compared in double, loss and gradient, and
bf16 with float32, loss only; bf16 is left out where the processor does not compute in it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.costs import Cost, add_option, write_costs
from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.objectives.sla import SLA
from sla_bench.records.environment import has_bf16_instructions, let_workers_keep_memory
from sla_bench.registry import BACKBONES
from sla_bench.training.loop import autocast
from sla_bench.views.augment import ImageBatches

IMAGES, CLASSES, SIZE = 10_000, 10, 32
PROPERTIES = ImageProperties(
    SIZE, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), crop_padding=4, flip=True
)
BASELINE = "baseline, channels_last"
BASELINE_DEFAULT = "baseline, default format"
BASELINE_BF16 = "baseline, bf16"
BASELINE_PLAIN = "baseline, plain"
SLA_STEP = "SLA of four rotations"
SLA_DEFAULT = "SLA, default format"
SLA_BF16 = "SLA, bf16"
SLA_PLAIN = "SLA, plain"


class Steps(Protocol):
    """Something that trains a step at a time."""

    def step(self) -> tuple[float, float]:
        """Seconds of the data work, and of all."""


Build = Callable[[], Steps]


@functools.cache
def random_images() -> LabeledImages:
    """Noise with the shape of CIFAR-10, a fifth of its size."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    return LabeledImages(pixels, np.arange(IMAGES) % CLASSES, tuple(map(str, range(CLASSES))))


class Training:
    """One network with its optimiser; networks of the same objective start with the same weights.

    Args:
        backbone: name in the registry.
        batch: images of a step; which ones does not depend on anything else.
        memory_format: of images and weights.
        precision: "fp32", or "bf16" by autocast.
        sla: all four rotations and joint labels instead of the images alone.
    """

    def __init__(
        self,
        backbone: str,
        batch: int,
        memory_format: torch.memory_format = torch.channels_last,
        precision: str = "fp32",
        sla: bool = False,
    ) -> None:
        self.backbone = BACKBONES.load(backbone)(SIZE, generator=torch.Generator().manual_seed(0))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            features = self.backbone.num_features
            self.sla = SLA(features, CLASSES) if sla else None
            self.classifier = None if sla else nn.Linear(features, CLASSES)
        self.network = nn.ModuleList([self.backbone, self.sla or self.classifier]).train()
        self.network.to(memory_format=memory_format)
        self.images = ImageBatches(random_images(), PROPERTIES)
        self.batch, self.memory_format, self.precision = batch, memory_format, precision
        self.order = torch.Generator().manual_seed(1)
        self.generator = torch.Generator().manual_seed(0)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)

    def step(self) -> tuple[float, float]:
        """Train on the next batch: seconds of the data work, and of all."""
        index = torch.randint(IMAGES, (self.batch,), generator=self.order)
        started = time.perf_counter()
        batch = self.images.augmented(index, self.generator)
        data = time.perf_counter() - started
        loss = self.loss(batch, self.images.labels[index])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return data, time.perf_counter() - started

    def loss(self, batch: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of the classes, or of the joint labels."""
        rows = self.sla.views(batch) if self.sla else batch
        with autocast(self.precision, rows.device):
            features = self.backbone(rows.contiguous(memory_format=self.memory_format))
        features = features.to(batch.dtype)
        if self.sla:
            return self.sla.loss(features, labels)
        return F.cross_entropy(self.classifier(features), labels)


CHANNELS_LAST = functools.partial(Training, memory_format=torch.channels_last)
DEFAULT_FORMAT = functools.partial(Training, memory_format=torch.contiguous_format)
BF16 = functools.partial(CHANNELS_LAST, precision="bf16")
OURS = {
    BASELINE: CHANNELS_LAST,
    BASELINE_DEFAULT: DEFAULT_FORMAT,
    SLA_STEP: functools.partial(CHANNELS_LAST, sla=True),
    SLA_DEFAULT: functools.partial(DEFAULT_FORMAT, sla=True),
}
OURS_BF16 = {BASELINE_BF16: BF16, SLA_BF16: functools.partial(BF16, sla=True)}
PLAIN = {BASELINE_PLAIN: DEFAULT_FORMAT, SLA_PLAIN: functools.partial(DEFAULT_FORMAT, sla=True)}


def in_double(network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], count: int) -> list[Tensor]:
    """The loss of `count` images, and the gradient of each parameter of the network, which becomes double."""
    images = ImageBatches(random_images(), PROPERTIES)
    network.double()
    value = loss(images.plain(torch.arange(count)).double(), images.labels[:count])
    return [value.detach(), *torch.autograd.grad(value, list(network.parameters()))]


def largest_difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """Of lists of tensors: the largest norm of a difference, relative to the norm of what was expected."""
    return max(float((f - e).norm() / e.norm()) for f, e in zip(found, expected, strict=True))


def compare(backbone: str, count: int) -> None:
    """Stop unless memory formats and precisions agree on a batch of `count` images."""
    # In float32 rounding alone moves the gradient of noise images by some percent.
    ours, plain = (build(backbone, count) for build in (CHANNELS_LAST, DEFAULT_FORMAT))
    difference = largest_difference(
        *(in_double(training.network, training.loss, count) for training in (plain, ours))
    )
    if not difference < 1e-8:
        raise SystemExit(f"the memory formats differ by {difference:.1e} of the values")
    if has_bf16_instructions() is False:
        return
    exact, rough = CHANNELS_LAST(backbone, count), BF16(backbone, count)
    batch, labels = exact.images.plain(torch.arange(count)), exact.images.labels[:count]
    with torch.no_grad():
        expected, found = (float(training.loss(batch, labels)) for training in (exact, rough))
    if not abs(found - expected) < 0.02 * expected:
        raise SystemExit(f"the loss in bf16 is {found}, in float32 {expected}")


def serve(pipe: Connection, candidates: Mapping[str, Build]) -> None:
    """Train the candidates a step at a time, as asked: (name, threads) in, (data, all) seconds out."""
    torch.set_num_threads(1)
    trainings = {name: build() for name, build in candidates.items()}
    pipe.send("ready")
    # Until the one who asks is gone.
    with contextlib.suppress(EOFError):
        while True:
            name, threads = pipe.recv()
            torch.set_num_threads(threads)
            pipe.send(trainings[name].step())


def start(candidates: Mapping[str, Build]) -> Connection:
    """Start a process that serves the candidates; the environment of now decides how it keeps memory."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=serve, args=(theirs, candidates), daemon=True).start()
    ours.recv()
    return ours


def start_both(plain: Mapping[str, Build], ours: Mapping[str, Build]) -> dict[str, Connection]:
    """Start a process that leaves the C library as it is, and one that keeps freed memory: name -> pipe."""
    before = dict(os.environ)
    first = start(plain)
    let_workers_keep_memory()
    second = start(ours)
    # The next plain process would keep memory too.
    os.environ.clear()
    os.environ.update(before)
    return dict.fromkeys(ours, second) | dict.fromkeys(plain, first)


def print_ratios(medians: dict[str, float]) -> None:
    """Say how many times the steps per second of other ways ours has, from medians in seconds."""
    for ours, bf16, others in (
        (BASELINE, BASELINE_BF16, (BASELINE_DEFAULT, BASELINE_PLAIN)),
        (SLA_STEP, SLA_BF16, (SLA_DEFAULT, SLA_PLAIN)),
    ):
        for fast in (name for name in (ours, bf16) if name in medians):
            ratios = [f"{medians[other] / medians[fast]:.2f} x those of {other}" for other in others]
            print(f"steps per second of {fast}: {'; '.join(ratios)}")
    if BASELINE_BF16 not in medians:
        print("bf16 is left out: the processor does not compute in it")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="resnet32-sla", choices=list(BACKBONES))
    parser.add_argument("--batch", type=int, default=128, help=f"images in a step, 2 to {IMAGES} (128)")
    parser.add_argument("--rounds", type=int, default=15, help="steps of each candidate, at least 1 (15)")
    add_option(parser)
    options = parser.parse_args()
    if not 2 <= options.batch <= IMAGES or options.rounds < 1:
        parser.error(f"--batch has to be from 2 to {IMAGES}, --rounds at least 1")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {options.backbone}, batch {options.batch}", flush=True)
    compare(options.backbone, options.batch)
    candidates = OURS if has_bf16_instructions() is False else {**OURS, **OURS_BF16}
    pipes = start_both(
        *(
            {name: functools.partial(build, options.backbone, options.batch) for name, build in each.items()}
            for each in (PLAIN, candidates)
        )
    )
    steps = {name: np.empty((options.rounds + 1, 2)) for name in pipes}
    for row in range(options.rounds + 1):
        for name, pipe in pipes.items():
            pipe.send((name, 1))
            steps[name][row] = pipe.recv()
    # The first step of each allocates what the others use again.
    steps = {name: seconds[1:] for name, seconds in steps.items()}
    medians = {name: float(np.median(seconds[:, 1])) for name, seconds in steps.items()}
    setting, costs = f"{options.backbone}, batch {options.batch}", []
    for name, seconds in steps.items():
        low, high = 1e3 * np.quantile(seconds[:, 1], (0.25, 0.75))
        share = float(np.median(seconds[:, 0] / seconds[:, 1]))
        print(
            f"{name:30} {1e3 * medians[name]:8.1f} ms (quartiles {low:.1f} to {high:.1f})  "
            f"{medians[name] / medians[BASELINE]:5.2f} x baseline  data {100 * share:4.1f} %"
        )
        costs.append(Cost(setting, f"{name}: step", 1e3 * medians[name], "ms", float(low), float(high)))
        costs.append(Cost(setting, f"{name}: data", 100 * share, "%"))
    print_ratios(medians)
    write_costs(options.csv, costs)


if __name__ == "__main__":
    main()
