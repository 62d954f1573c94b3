"""Time of a training step of a classifier: share of the data work, cost of SLA, memory format, precision.

    python benchmarks/speed/training_step.py                   # ResNet-32, about four minutes
    python benchmarks/speed/training_step.py --backbone resnet8 --batch 64 --rounds 31

Random CIFAR-10-shaped uint8 images, one thread. A step gathers, crops, flips and normalises a batch, runs
forward and backward, and lets SGD with momentum update the weights. SLA runs the four rotations of each image
through the backbone and takes the cross entropy of the joint labels.

Two processes take turns, one step at a time: ours keeps freed memory as the suite's workers do
(`sla_bench/harness/memory.py`); the plain one leaves the C library as it is and uses torch's default format.
The table gives medians over rounds, quartiles, and the ratio of medians to our baseline step (float32,
channels_last). Before anything is timed, the memory formats are compared in double, loss and gradient, and
bf16 with float32, loss only; bf16 is left out where the processor does not compute in it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.augment import ImageBatches
from sla_bench.datasets.base import ImageProperties, LabeledImages
from sla_bench.harness.environment import has_bf16_instructions
from sla_bench.harness.memory import let_workers_keep_memory
from sla_bench.label_augmentation import SLA
from sla_bench.registry import BACKBONES
from sla_bench.training import autocast

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

CHANNELS_LAST = {"memory_format": torch.channels_last}
DEFAULT_FORMAT = {"memory_format": torch.contiguous_format}
BF16 = {**CHANNELS_LAST, "precision": "bf16"}
OURS: dict[str, dict[str, Any]] = {
    BASELINE: CHANNELS_LAST,
    BASELINE_DEFAULT: DEFAULT_FORMAT,
    SLA_STEP: {**CHANNELS_LAST, "sla": True},
    SLA_DEFAULT: {**DEFAULT_FORMAT, "sla": True},
}
OURS_BF16: dict[str, dict[str, Any]] = {BASELINE_BF16: BF16, SLA_BF16: {**BF16, "sla": True}}
PLAIN: dict[str, dict[str, Any]] = {
    BASELINE_PLAIN: DEFAULT_FORMAT,
    SLA_PLAIN: {**DEFAULT_FORMAT, "sla": True},
}


def random_images() -> ImageBatches:
    """Noise with the shape of CIFAR-10, a fifth of its size."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    data = LabeledImages(pixels, np.arange(IMAGES) % CLASSES, tuple(map(str, range(CLASSES))))
    return ImageBatches(data, PROPERTIES)


class Training:
    """One network with its optimiser; networks of the same objective start with the same weights.

    Args:
        backbone: name in the registry.
        images: what it is trained on.
        memory_format: of images and weights.
        precision: "fp32", or "bf16" by autocast.
        sla: all four rotations and joint labels instead of the images alone.
    """

    def __init__(
        self,
        backbone: str,
        images: ImageBatches,
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
        self.images, self.memory_format, self.precision = images, memory_format, precision
        self.generator = torch.Generator().manual_seed(0)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)

    def step(self, index: Tensor) -> tuple[float, float]:
        """Train on the images at `index` (B,): seconds of the data work, and of all."""
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


def compare(backbone: str, images: ImageBatches, count: int) -> None:
    """Stop unless memory formats and precisions agree on a batch of `count` images."""
    batch, labels = images.plain(torch.arange(count)), images.labels[:count]
    results = []
    # In float32 rounding alone moves the gradient of noise images by some percent.
    for memory_format in (torch.channels_last, torch.contiguous_format):
        training = Training(backbone, images, memory_format)
        training.network.double()
        loss = training.loss(batch.double(), labels)
        parameters = list(training.network.parameters())
        results.append([loss.detach(), *torch.autograd.grad(loss, parameters)])
    for first, second in zip(*results, strict=True):
        difference = float((first - second).norm() / first.norm())
        if not difference < 1e-8:
            raise SystemExit(f"the memory formats differ by {difference:.1e} of the values")
    if has_bf16_instructions() is False:
        return
    with torch.no_grad():
        exact, rough = (
            float(Training(backbone, images, precision=p).loss(batch, labels)) for p in ("fp32", "bf16")
        )
    if not abs(rough - exact) < 0.02 * exact:
        raise SystemExit(f"the loss in bf16 is {rough}, in float32 {exact}")


def serve(pipe: Connection, backbone: str, candidates: dict[str, dict[str, Any]]) -> None:
    """Train the candidates a step at a time, as the pipe asks: (name, index) in, (data, all) seconds out."""
    torch.set_num_threads(1)
    images = random_images()
    trainings = {name: Training(backbone, images, **settings) for name, settings in candidates.items()}
    while (asked := pipe.recv()) is not None:
        name, index = asked
        pipe.send(trainings[name].step(index))


def start(backbone: str, candidates: dict[str, dict[str, Any]]) -> Connection:
    """Start a process that serves the candidates; the environment of now decides how it keeps memory."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=serve, args=(theirs, backbone, candidates), daemon=True).start()
    return ours


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
    options = parser.parse_args()
    if not 2 <= options.batch <= IMAGES or options.rounds < 1:
        parser.error(f"--batch has to be from 2 to {IMAGES}, --rounds at least 1")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {options.backbone}, batch {options.batch}", flush=True)
    compare(options.backbone, random_images(), options.batch)
    # Set in the environment already, the plain process would keep memory too.
    plain = start(options.backbone, PLAIN)
    let_workers_keep_memory()
    candidates = OURS if has_bf16_instructions() is False else {**OURS, **OURS_BF16}
    ours = start(options.backbone, candidates)
    pipes = dict.fromkeys(candidates, ours) | dict.fromkeys(PLAIN, plain)
    indices = torch.randint(
        IMAGES, (options.rounds + 1, options.batch), generator=torch.Generator().manual_seed(1)
    )
    steps = {name: np.empty((options.rounds + 1, 2)) for name in pipes}
    for row, index in enumerate(indices):
        for name, pipe in pipes.items():
            pipe.send((name, index))
            steps[name][row] = pipe.recv()
    for pipe in (ours, plain):
        pipe.send(None)
    # The first step of each allocates what the others use again.
    steps = {name: seconds[1:] for name, seconds in steps.items()}
    medians = {name: float(np.median(seconds[:, 1])) for name, seconds in steps.items()}
    for name, seconds in steps.items():
        low, high = 1e3 * np.quantile(seconds[:, 1], (0.25, 0.75))
        share = float(np.median(seconds[:, 0] / seconds[:, 1]))
        print(
            f"{name:30} {1e3 * medians[name]:8.1f} ms (quartiles {low:.1f} to {high:.1f})  "
            f"{medians[name] / medians[BASELINE]:5.2f} x baseline  data {100 * share:4.1f} %"
        )
    print_ratios(medians)


if __name__ == "__main__":
    main()
