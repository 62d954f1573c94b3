"""Training steps of a classifier: ours, plain torch, and SLA's code."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks.speed import training_step
from benchmarks.speed.peer_comparison.topics import OURS, Comparison, Implementation, Topic, checked
from benchmarks.speed.timing import Candidate
from benchmarks.speed.training_step import CHANNELS_LAST, CLASSES, DEFAULT_FORMAT, PROPERTIES, SIZE, Build
from benchmarks.speed.usual_ways import TorchvisionImages
from sla_bench.registry import BACKBONES

VIEWS = 4
CHECKED = 16
TOLERANCE = 1e-8
PLAIN, PUBLISHED = "plain torch", "as in SLA's code"


class Size(NamedTuple):
    """A backbone and the images of a step."""

    backbone: str
    batch: int


FULL = (Size("resnet32-sla", 128), Size("resnet8", 64))
QUICK = (Size("resnet8", 64),)


class PublishedTraining:
    """A training that does in a step what the code of SLA does in one.

    Images come through PIL, the network has torch's default memory format, the views are stacked, and loss
    and accuracy of all read-offs are computed in each step, as its logger asks for (trainers.py of
    github.com/hankook/SLA; the layout of views and joint labels is the paper's).

    Args:
        backbone: name in the registry.
        batch: images of a step.
        sla: rotations and joint labels instead of the images alone.
    """

    def __init__(self, backbone: str, batch: int, sla: bool = False) -> None:
        self.views = VIEWS if sla else 1
        body = BACKBONES.load(backbone)(SIZE, generator=torch.Generator().manual_seed(0))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            classifier = nn.Linear(body.num_features, CLASSES * self.views)
        self.network = nn.Sequential(body, classifier).train()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
        images = TorchvisionImages(training_step.random_images(), PROPERTIES)
        self.batches = _endless(DataLoader(images, batch, shuffle=True, drop_last=True))
        self.logged: dict[str, float] = {}

    def step(self) -> tuple[float, float]:
        """Train on the next batch: seconds of the data work, and of all."""
        started = time.perf_counter()
        images, labels = next(self.batches)
        data = time.perf_counter() - started
        logits, targets = self.logits(images), self.targets(labels)
        loss = F.cross_entropy(logits, targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.logged = self.log(loss, logits.detach(), targets, labels)
        return data, time.perf_counter() - started

    def logits(self, images: Tensor) -> Tensor:
        """Of all views of each image, the views of an image together."""
        if self.views > 1:
            turned = [torch.rot90(images, k, (2, 3)) for k in range(self.views)]
            images = torch.stack(turned, 1).view(-1, *images.shape[1:])
        return self.network(images)

    def targets(self, labels: Tensor) -> Tensor:
        """The joint label of each row."""
        return torch.stack([labels * self.views + j for j in range(self.views)], 1).view(-1)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of the joint labels."""
        return F.cross_entropy(self.logits(images), self.targets(labels))

    def log(self, loss: Tensor, logits: Tensor, targets: Tensor, labels: Tensor) -> dict[str, float]:
        """Loss and accuracy of the joint task and, with views, of both read-offs."""
        logged = {"loss": loss.item(), "accuracy": _accuracy(logits, targets)}
        if self.views > 1:
            aggregated = torch.zeros(len(labels), CLASSES)
            for j in range(self.views):
                aggregated = aggregated + logits[j :: self.views, j :: self.views] / self.views
            for name, read in (("single", logits[:: self.views, :: self.views]), ("aggregated", aggregated)):
                logged |= {
                    f"{name}_loss": F.cross_entropy(read, labels).item(),
                    f"{name}_accuracy": _accuracy(read, labels),
                }
        return logged


def topic(sizes: tuple[Size, ...] = FULL) -> Topic:
    """Baseline and SLA with each backbone."""
    return Topic(
        "classifier training step",
        "step",
        f"{SIZE} px, {CLASSES} classes, SGD with momentum, data work included; SLA with four rotations. Ours "
        "keeps freed memory, as the suite's workers do, in a process of its own; the others leave the C "
        f"library as it is. {PLAIN!r} has our data work and torch's default memory format; {PUBLISHED!r} has "
        "PIL and the logging of each step too. Difference: of loss and gradients in double, relative.",
        [comparison(size, sla) for size in sizes for sla in (False, True)],
        {
            "learn2learn": "trains on episodes, see below; knows no joint labels",
            "easyfsl": "trains on episodes, see below; knows no joint labels",
            "qpth": "solves what heads need, see there",
        },
    )


def comparison(size: Size, sla: bool) -> Comparison:
    """Ours and the others with one network and objective."""
    builds: dict[str, Build] = {
        OURS: functools.partial(CHANNELS_LAST, *size, sla=sla),
        PLAIN: functools.partial(DEFAULT_FORMAT, *size, sla=sla),
        PUBLISHED: functools.partial(PublishedTraining, *size, sla=sla),
    }
    differences = differences_of(size.backbone, sla)
    pipes = training_step.start_both({n: b for n, b in builds.items() if n != OURS}, {OURS: builds[OURS]})
    packages = {OURS: "sla-bench", PLAIN: "torch", PUBLISHED: "torch"}
    return Comparison(
        f"{size.backbone.partition('-')[0]}, batch {size.batch}, {'SLA' if sla else 'baseline'}",
        {
            name: Implementation(by_pipe(pipes[name], name), packages[name], differences[name])
            for name in builds
        },
    )


def differences_of(backbone: str, sla: bool) -> dict[str, float]:
    """Of loss and gradients of the others from ours, on the same images and weights, in double.

    Raises:
        SystemExit: they differ.
    """
    ours, plain, published = (
        build(backbone, CHECKED, sla=sla) for build in (CHANNELS_LAST, DEFAULT_FORMAT, PublishedTraining)
    )
    expected = training_step.in_double(ours.network, ours.loss, CHECKED)
    found = {
        name: training_step.largest_difference(
            training_step.in_double(training.network, training.loss, CHECKED), expected
        )
        for name, training in ((PLAIN, plain), (PUBLISHED, published))
    }
    return {OURS: 0.0} | {name: checked(name, value, TOLERANCE) for name, value in found.items()}


def by_pipe(pipe: Connection, name: str) -> Candidate:
    """A step of a training in another process, on as many threads as are set here."""

    def run() -> int:
        pipe.send((name, torch.get_num_threads()))
        pipe.recv()
        return 1

    return run


def _endless(loader: DataLoader) -> Iterator[list[Tensor]]:
    while True:
        yield from loader


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).float().mean())
