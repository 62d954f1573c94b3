"""The contract of methods, on fixed classes and on episodes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sla_bench.contracts.checks import Checks, difference, first_problem, gradient_problem, shape_problem
from sla_bench.models.heads.protonet import ProtoNet
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.objectives.classes import Classes, OnClasses
from sla_bench.objectives.episodes import EpisodeFeatures, OnEpisodes
from sla_bench.objectives.objective import Objective
from sla_bench.registry import METHODS, TRANSFORMS
from sla_bench.seeds import torch_seeded

_COUNTS = (40, 9, 2)
_CLASSES, _IMAGES, _FEATURES, _SIZE = len(_COUNTS), 6, 10, 8
_SHARE = 0.7
_EPISODES, _WAYS, _SHOTS, _QUERIES = 2, 3, 4, 2


def method_checks(method: Objective) -> Checks:
    """The checks of a method: a small network, rotations, and prototypes or cross entropy."""
    checks = {"has rows, and one that reads a single view": lambda: _rows(method)}
    checks["no other method has rows of these names"] = lambda: _names(method)
    for place, refused, contract in (
        ("on classes", method.not_on_classes, _OnClassesContract),
        ("on episodes", method.not_on_episodes or method.classifier_only, _OnEpisodesContract),
    ):
        if not refused:
            own = contract(method)
            checks |= {
                f"{place}: the loss is a finite scalar": own.scalar,
                f"{place}: training shows as many images as it counts": own.counts,
                f"{place}: gradients reach the network and every layer": own.gradients,
                f"{place}: gives the same loss again": own.repeats,
                f"{place}: the order of the images changes nothing": own.order,
                f"{place}: rows are scores of each class, and finite": own.reads,
                f"{place}: each image is read by itself": own.images_alone,
            }
    return checks


def _rows(method: Objective) -> str | None:
    if not method.reads:
        return "reads is empty"
    if not any(not read.mean for read in method.reads.values()):
        return "all rows average over views, and validation reads one"
    return None


def _names(method: Objective) -> str | None:
    for name in METHODS:
        other = METHODS.load(name)
        shared = {*method.reads} & {*other.reads} if other is not method else set()
        if shared:
            return f"{name!r} has {', '.join(sorted(shared))}"
    return None


def _network() -> nn.Sequential:
    with torch_seeded(1):
        # Turned images have other embeddings, and no activation is dead.
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(36, _FEATURES)
        )
    return network.double()


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(count: int, seed: int) -> Tensor:
    return torch.randn(count, 3, _SIZE, _SIZE, generator=_seeded(seed), dtype=torch.float64)


def _shown_problem(objective: OnClasses | OnEpisodes, numbers: Tensor | None) -> str | None:
    images = _images(_IMAGES, 0).repeat_interleave(objective.copies, dim=0)
    shown = objective.shown(images, None if numbers is None else numbers[:_IMAGES], _seeded(3))
    counted = _IMAGES * objective.images_per_image
    return None if len(shown) == counted else f"{len(shown)} are shown of {_IMAGES}, {counted} are counted"


@dataclass(frozen=True)
class _Batch:
    """Features (B, V, D), labels and partners (B,), numbers (B, V), scores (B, N) of a network before."""

    features: Tensor
    labels: Tensor
    numbers: Tensor | None
    before: Tensor | None
    partners: Tensor | None

    def __getitem__(self, order: Tensor) -> _Batch:
        parts = (self.numbers, self.before)
        numbers, before = (None if part is None else part[order] for part in parts)
        # Partners are positions in the batch.
        partners = None if self.partners is None else order.argsort()[self.partners[order]]
        return _Batch(self.features[order], self.labels[order], numbers, before, partners)

    def loss(self, objective: OnClasses) -> Tensor:
        """Of an objective, a scalar."""
        partners = None if self.partners is None else (self.partners, _SHARE)
        return objective.loss(self.features, self.labels, self.numbers, self.before, partners)[0]


class _OnClassesContract:
    def __init__(self, method: Objective) -> None:
        self.method = method

    def objective(self) -> OnClasses:
        with torch_seeded(2):
            classes = Classes(torch.tensor(_COUNTS), CrossEntropy)
            return OnClasses(self.method, _FEATURES, classes, TRANSFORMS.load("rotation")).double()

    def batch(self, objective: OnClasses, network: nn.Module) -> _Batch:
        numbers = objective.drawn(_IMAGES, _seeded(2))
        images = _images(_IMAGES, 0).repeat_interleave(objective.copies, dim=0)
        shown = objective.shown(images, numbers, _seeded(3))
        features, labels = network(shown).view(_IMAGES, -1, _FEATURES), torch.arange(_IMAGES) % _CLASSES
        taught = self.method.pretext is not None and self.method.keeps != "backbone"
        before = torch.randn(_IMAGES, _CLASSES, generator=_seeded(5), dtype=torch.float64) if taught else None
        partners = torch.arange(_IMAGES).roll(1) if self.method.mixes_maps else None
        return _Batch(features, labels, numbers, before, partners)

    def loss(self) -> Tensor:
        objective = self.objective()
        return self.batch(objective, _network()).loss(objective)

    def views(self, images: Tensor) -> Tensor:
        """Features (B, M, D) of a test."""
        shown = TRANSFORMS.load("rotation").views(images).flatten(0, 1)
        features: Tensor = _network()(shown).view(len(images), -1, _FEATURES)
        return features

    def scalar(self) -> str | None:
        return shape_problem(self.loss(), (), "the loss")

    def counts(self) -> str | None:
        objective = self.objective()
        return _shown_problem(objective, objective.drawn(_IMAGES, _seeded(2)))

    def gradients(self) -> str | None:
        objective, network = self.objective(), _network()
        loss = self.batch(objective, network).loss(objective)
        return first_problem(
            gradient_problem(loss, network, "the network"),
            gradient_problem(loss, objective, "the layers") if list(objective.parameters()) else None,
        )

    def repeats(self) -> str | None:
        return difference(self.loss(), self.loss(), "losses", 0.0)

    def order(self) -> str | None:
        objective = self.objective()
        batch, order = self.batch(objective, _network()), torch.randperm(_IMAGES)
        return difference(batch[order].loss(objective), batch.loss(objective), "losses")

    def reads(self) -> str | None:
        read = self.objective().read(self.views(_images(_IMAGES, 4)))
        if not read:
            return "there are none"
        return first_problem(*(shape_problem(s, (_IMAGES, _CLASSES), row) for row, s in read.items()))

    def images_alone(self) -> str | None:
        objective, images = self.objective(), _images(_IMAGES, 4)
        together = objective.read(self.views(images))
        alone = [objective.read(self.views(one)) for one in images.split(1)]
        return first_problem(
            *(difference(torch.cat([a[row] for a in alone]), s, row) for row, s in together.items())
        )


class _OnEpisodesContract:
    def __init__(self, method: Objective) -> None:
        self.method = method
        labels = (torch.arange(_WAYS).repeat(count) for count in (_SHOTS, _QUERIES))
        self.labels, self.asked = (own.expand(_EPISODES, -1).contiguous() for own in labels)
        self.head = ProtoNet().double()

    def objective(self) -> OnEpisodes:
        return OnEpisodes(self.method, TRANSFORMS.load("rotation"))

    def features(self, objective: OnEpisodes, network: nn.Module) -> EpisodeFeatures:
        numbers = objective.drawn(self.labels, self.asked, _seeded(2))

        def embedded(labels: Tensor, own: Tensor | None, seed: int) -> Tensor:
            images = _images(labels.numel(), seed).repeat_interleave(objective.copies, dim=0)
            shown = objective.shown(images, None if own is None else own.flatten(0, 1), _seeded(3))
            features: Tensor = network(shown).view(*labels.shape, -1, _FEATURES)
            return features

        of_support, of_query = numbers or (None, None)
        return EpisodeFeatures(
            embedded(self.labels, of_support, 0),
            self.labels,
            embedded(self.asked, of_query, 1),
            self.asked,
            _WAYS,
            numbers,
        )

    def view_head(self, objective: OnEpisodes) -> nn.Module | None:
        with torch_seeded(2):
            return objective.view_head(_FEATURES)

    def loss(self) -> Tensor:
        objective = self.objective()
        features = self.features(objective, _network())
        return objective.loss(features, self.head, 0.0, self.view_head(objective))[0]

    def views(self) -> EpisodeFeatures:
        """Features of a test, of all views."""
        plain = OnEpisodes(replace(Objective(), trains_on_views=True), TRANSFORMS.load("rotation"))
        return self.features(plain, _network())

    def scalar(self) -> str | None:
        return shape_problem(self.loss(), (), "the loss")

    def counts(self) -> str | None:
        objective = self.objective()
        numbers = objective.drawn(self.labels, self.asked, _seeded(2))
        return _shown_problem(objective, None if numbers is None else numbers[0].flatten(0, 1))

    def gradients(self) -> str | None:
        objective, network = self.objective(), _network()
        view_head = self.view_head(objective)
        loss, _ = objective.loss(self.features(objective, network), self.head, 0.0, view_head)
        return first_problem(
            gradient_problem(loss, network, "the network"),
            None if view_head is None else gradient_problem(loss, view_head, "the classifier of the view"),
        )

    def repeats(self) -> str | None:
        return difference(self.loss(), self.loss(), "losses", 0.0)

    def order(self) -> str | None:
        objective = self.objective()
        features = self.features(objective, _network())
        first, second = torch.randperm(self.labels.shape[1]), torch.randperm(self.asked.shape[1])
        moved = replace(
            features,
            support=features.support[:, first],
            support_labels=self.labels[:, first],
            query=features.query[:, second],
            query_labels=self.asked[:, second],
            numbers=features.numbers and (features.numbers[0][:, first], features.numbers[1][:, second]),
        )
        head = self.view_head(objective)
        losses = [objective.loss(own, self.head, 0.0, head)[0] for own in (moved, features)]
        # The classifier of the view works in single precision.
        return difference(losses[0], losses[1], "losses", 1e-5)

    def reads(self) -> str | None:
        objective = self.objective()
        read = objective.read(self.views(), self.head)
        shape = (*self.asked.shape, _WAYS)
        return first_problem(*(shape_problem(scores, shape, row) for row, scores in read.items()))

    def images_alone(self) -> str | None:
        objective, features = self.objective(), self.views()
        together = objective.read(features, self.head)
        parts = zip(features.query.split(1, 1), features.query_labels.split(1, 1), strict=True)
        alone = [
            objective.read(replace(features, query=query, query_labels=labels), self.head)
            for query, labels in parts
        ]
        return first_problem(
            *(difference(torch.cat([a[row] for a in alone], 1), s, row) for row, s in together.items())
        )
