"""Time of a training step of a classifier: share of the data work, cost of SLA, memory format, precision.

    python benchmarks/speed/training_step.py                   # ResNet-32, about a minute and a half
    python benchmarks/speed/training_step.py --backbone resnet8 --batch 64 --rounds 31

Random CIFAR-10-shaped uint8 images, one thread. A step gathers, crops, flips and normalises a batch, runs
forward and backward, and lets SGD with momentum update the weights. SLA runs the four rotations of each image
through the backbone and takes the cross entropy of the joint labels. All candidates run in turn in one
process; the table gives medians over rounds, quartiles, and the ratio of medians to our baseline step
(float32, channels_last). Before anything is timed, the memory formats are compared in double, loss and
gradient, and bf16 with float32, loss only; bf16 is left out where the processor does not compute in it.

Where the C library gives freed memory back at once, new pages cost much of the time. To measure as the
suite's workers run (glibc): MALLOC_MMAP_THRESHOLD_=50331648 MALLOC_TRIM_THRESHOLD_=1073741824 in the
environment.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.augment import ImageBatches
from sla_bench.datasets.base import ImageProperties, LabeledImages
from sla_bench.harness.environment import has_bf16_instructions
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
SLA_STEP = "SLA of four rotations"
SLA_DEFAULT = "SLA, default format"
SLA_BF16 = "SLA, bf16"


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


def print_ratios(medians: dict[str, float]) -> None:
    """Say how many times as fast the memory format and bf16 make a step, from medians in seconds."""
    for default, fast in ((BASELINE_DEFAULT, (BASELINE, BASELINE_BF16)), (SLA_DEFAULT, (SLA_STEP, SLA_BF16))):
        for name in fast:
            if name in medians:
                print(f"{name}: {medians[default] / medians[name]:.2f} x the steps per second of {default}")
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
    images = random_images()
    candidates = {
        BASELINE: Training(options.backbone, images),
        BASELINE_DEFAULT: Training(options.backbone, images, torch.contiguous_format),
        SLA_STEP: Training(options.backbone, images, sla=True),
        SLA_DEFAULT: Training(options.backbone, images, torch.contiguous_format, sla=True),
    }
    if has_bf16_instructions() is not False:
        candidates |= {
            BASELINE_BF16: Training(options.backbone, images, precision="bf16"),
            SLA_BF16: Training(options.backbone, images, precision="bf16", sla=True),
        }
    print(f"torch {torch.__version__}, 1 thread, {options.backbone}, batch {options.batch}", flush=True)
    compare(options.backbone, images, options.batch)
    for training in candidates.values():
        training.step(torch.arange(options.batch))
    indices = torch.randint(
        IMAGES, (options.rounds, options.batch), generator=torch.Generator().manual_seed(1)
    )
    steps = {name: np.empty((options.rounds, 2)) for name in candidates}
    for row, index in enumerate(indices):
        for name, training in candidates.items():
            steps[name][row] = training.step(index)
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
