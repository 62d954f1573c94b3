"""Training steps of a prototypical network: ours and the libraries'."""

from __future__ import annotations

import contextlib
import functools
import io
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.speed import sampler, training_step
from benchmarks.speed.peer_comparison.classifier_steps import by_pipe
from benchmarks.speed.peer_comparison.topics import OURS, Comparison, Implementation, Topic, checked
from benchmarks.speed.usual_ways import TorchvisionImages, easyfsl_loader, learn2learn_tasks
from sla_bench.registry import BACKBONES, LEARNERS
from sla_bench.training.episodes import EpisodeSampler
from sla_bench.views.augment import ImageBatches

SHAPE = sampler.SHAPE
PROPERTIES = sampler.SETTINGS["crop + jitter + flip"]
TOLERANCE = 1e-8
Episode = tuple[Tensor, Tensor, Tensor, Tensor]
"""Support images, their labels, query images, their labels."""


class EpisodeTraining(ABC):
    """A network that is trained on one episode after the other; all start with the same weights.

    Args:
        backbone: name in the registry.
    """

    def __init__(self, backbone: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.network = BACKBONES.load(backbone)(sampler.SIZE, generator=generator).train()
        self.head = LEARNERS.load("protonet")()
        self.data = training_step.random_images()
        self.optimizer = torch.optim.Adam([*self.network.parameters(), *self.head.parameters()], lr=1e-3)
        self.episodes = self.draw()

    @abstractmethod
    def draw(self) -> Iterator[Episode]:
        """Augmented episodes, made when they are asked for."""

    @abstractmethod
    def scores(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """What the cross entropy is taken of: (queries, ways)."""

    def as_ours(self, scores: Tensor) -> Tensor:
        """The scores in the form that ours have: -d^2 / D."""
        return scores

    def step(self) -> tuple[float, float]:
        """Train on the next episode: seconds of the data work, and of all."""
        started = time.perf_counter()
        support, labels, query, query_labels = next(self.episodes)
        data = time.perf_counter() - started
        loss = F.cross_entropy(self.scores(support, labels, query), query_labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return data, time.perf_counter() - started


class OurTraining(EpisodeTraining):
    """As the few-shot scenario trains."""

    def __init__(self, backbone: str) -> None:
        super().__init__(backbone)
        self.network.to(memory_format=torch.channels_last)

    def draw(self) -> Iterator[Episode]:
        """Index tensors, then all images of an episode at once."""
        drawn = EpisodeSampler(self.data.labels, *SHAPE)
        images, generator = ImageBatches(self.data, PROPERTIES), torch.Generator().manual_seed(0)
        while True:
            episode = drawn.sample(1).flatten(generator)
            index = torch.cat([episode.support[0], episode.query[0]])
            support, query = images.augmented(index, generator).split(
                [episode.support.shape[1], episode.query.shape[1]]
            )
            yield support, episode.support_labels[0], query, episode.query_labels[0]

    def scores(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Supports and queries through the network together."""
        batch = torch.cat([support, query]).contiguous(memory_format=torch.channels_last)
        features = self.network(batch)
        parts = features[None, : len(support)], labels[None], features[None, len(support) :]
        return self.head(*parts, SHAPE.ways)[0]


class Learn2learnTraining(EpisodeTraining):
    """As the example of learn2learn trains."""

    def __init__(self, backbone: str) -> None:
        # The import takes longer than many steps.
        with contextlib.redirect_stderr(io.StringIO()):
            from learn2learn.nn import PrototypicalClassifier

        super().__init__(backbone)
        self.classifier = PrototypicalClassifier

    def draw(self) -> Iterator[Episode]:
        """Its task data set, and its way to choose the supports."""
        adapts = (torch.arange(SHAPE.shots + SHAPE.queries) < SHAPE.shots).repeat(SHAPE.ways)
        for pixels, labels in learn2learn_tasks(TorchvisionImages(self.data, PROPERTIES), SHAPE):
            yield pixels[adapts], labels[adapts], pixels[~adapts], labels[~adapts]

    def scores(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """-d^2 by its classifier, supports and queries through the network together."""
        features = self.network(torch.cat([support, query]))
        return self.classifier(features[: len(support)], labels)(features[len(support) :])

    def as_ours(self, scores: Tensor) -> Tensor:
        """Divided by the length of an embedding."""
        return scores / self.network.num_features


class EasyfslTraining(EpisodeTraining):
    """As the notebook of easyfsl on episodic training does."""

    def __init__(self, backbone: str) -> None:
        from easyfsl.methods import PrototypicalNetworks

        super().__init__(backbone)
        self.model = PrototypicalNetworks(self.network)

    def draw(self) -> Iterator[Episode]:
        """Its loader."""
        for episode in easyfsl_loader(TorchvisionImages(self.data, PROPERTIES), SHAPE):
            yield episode[:4]

    def scores(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """-d by its prototypical networks, supports and queries apart."""
        self.model.process_support_set(support, labels)
        return self.model(query)

    def as_ours(self, scores: Tensor) -> Tensor:
        """Squared, and divided by the length of an embedding."""
        return -scores.square() / self.network.num_features


LIBRARIES: dict[str, type[EpisodeTraining]] = {"learn2learn": Learn2learnTraining, "easyfsl": EasyfslTraining}


def topic(missing: Collection[str], backbone: str = "conv4") -> Topic:
    """A baseline step; libraries in `missing` are left out."""
    found = {name: build for name, build in LIBRARIES.items() if name not in missing}
    builds = {name: functools.partial(build, backbone) for name, build in found.items()}
    pipes = training_step.start_both(builds, {OURS: functools.partial(OurTraining, backbone)})
    differences = {OURS: 0.0, **differences_of(backbone, found)}
    implementations = {
        name: Implementation(
            by_pipe(pipes[name], name), "sla-bench" if name == OURS else name, differences[name]
        )
        for name in (OURS, *builds)
    }
    return Topic(
        "episode training step",
        "step",
        f"Prototypical network, one {SHAPE.ways}-way {SHAPE.shots}-shot {SHAPE.queries}-query episode of "
        f"{sampler.SIZE} px a step, Adam; crop, jitter and flip included. Ours keeps freed memory, in a "
        "process of its own. Difference: of logits and gradients in double, relative; in eval mode, because "
        "easyfsl normalises supports and queries apart.",
        [Comparison(f"{backbone}, baseline", implementations)],
        {
            "learn2learn": "knows no joint labels (SLA)",
            "easyfsl": "knows no joint labels (SLA)",
            "qpth": "solves what heads need, see there",
        },
    )


def differences_of(backbone: str, builds: dict[str, type[EpisodeTraining]]) -> dict[str, float]:
    """Of logits and gradients of the libraries from ours, on the same images and weights, in double.

    Raises:
        SystemExit: they differ.
    """
    expected = _in_double(OurTraining(backbone))
    return {
        name: checked(
            name, training_step.largest_difference(_in_double(build(backbone)), expected), TOLERANCE
        )
        for name, build in builds.items()
    }


def _in_double(training: EpisodeTraining) -> list[Tensor]:
    """Logits in our form of one episode, and the gradient of their cross entropy for each parameter."""
    training.network.double().eval()
    support, labels, query, query_labels = (
        part.double() if part.is_floating_point() else part for part in next(OurTraining.draw(training))
    )
    logits = training.as_ours(training.scores(support, labels, query))
    loss = F.cross_entropy(logits, query_labels)
    return [logits.detach(), *torch.autograd.grad(loss, list(training.network.parameters()))]
