"""Heads that are fitted on the embeddings of a finished backbone."""

# Shapes: n images, D features, N classes, G candidates of the hyper-parameters, fitted side by side.

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor

from sla_bench.training.class_sampling import ClassSampler

_BATCH = 256
_MOMENTUM = 0.9


@dataclass(frozen=True)
class Embedded:
    """Images as a finished model sees them.

    Args:
        features: float (n, D).
        scores: float (n, N), of its own head.
        labels: int64 (n,).
    """

    features: Tensor
    scores: Tensor
    labels: Tensor


Heads = Callable[[Tensor, Tensor], Tensor]
"""`(features (n, D), scores (n, N)) -> scores (G, n, N)`, of all candidates."""


class StageTwo(ABC):
    """A kind of head, with candidates of its hyper-parameters, the same for every method and data set.

    Attributes:
        label: of its rows.
        grid: hyper-parameter -> values; candidates are their product.
    """

    label: ClassVar[str]
    grid: ClassVar[Mapping[str, tuple[Any, ...]]]

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """The G candidates."""
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]

    @abstractmethod
    def fit(self, train: Embedded, norms: Tensor, seed: int) -> Heads:
        """Fit all candidates.

        Args:
            train: the training images.
            norms: float (N,), length of the weights of each class in the model's own head.
            seed: of the batches.
        """

    def _column(self, name: str, like: Tensor) -> Tensor:
        """A hyper-parameter of each candidate, (G, 1, 1)."""
        return like.new_tensor([one[name] for one in self.candidates])[:, None, None]


@dataclass(frozen=True)
class Chosen:
    """The best candidate.

    Args:
        predict: `(features (n, D), scores (n, N)) -> scores (n, N)`.
        parameters: its hyper-parameters.
        accuracy: on the held-out images, the mean of the recalls of their classes, 0..1.
    """

    predict: Callable[[Tensor, Tensor], Tensor]
    parameters: dict[str, Any]
    accuracy: float


def fit_best(kind: StageTwo, train: Embedded, held_out: Embedded, norms: Tensor, seed: int) -> Chosen:
    """Fit all candidates, and choose the one that is best on held-out images (the earliest of equals).

    Args:
        kind: of head.
        train: the training images.
        held_out: images of the training split that the backbone never saw.
        norms: as `StageTwo.fit`.
        seed: of the batches.
    """
    heads = kind.fit(train, norms, seed)
    right = heads(held_out.features, held_out.scores).argmax(2) == held_out.labels
    sizes = held_out.labels.bincount()
    hits = torch.zeros(len(right), len(sizes), dtype=torch.float64)
    hits.index_add_(1, held_out.labels.cpu(), right.double().cpu())
    present = sizes.cpu() > 0
    recalls = (hits[:, present] / sizes.cpu()[present]).mean(1)
    best = int(recalls.argmax())
    return Chosen(lambda f, s: heads(f, s)[best], kind.candidates[best], float(recalls[best]))


def cosine_batches(labels: Tensor, sampler: str, epochs: int, seed: int) -> Iterator[tuple[Tensor, float]]:
    """Yield batches of positions int64 (B,), and a factor of the rate that falls from 1 to 0 as a cosine."""
    batches = ClassSampler(labels, sampler, _BATCH, seed)
    steps = epochs * math.ceil(len(labels) / _BATCH)
    for step in range(steps):
        yield batches.next().to(labels.device), 0.5 * (1 + math.cos(math.pi * step / steps))


class _Linear(StageTwo):
    """Linear heads by SGD with momentum on the cross entropy, from zero weights.

    Attributes:
        sampler: draws the images, as `ClassSampler`.
        epochs: n draws each.
        keeps_head: the scores of the model's own head are added, so that the fit begins with this head.
    """

    sampler: ClassVar[str]
    epochs: ClassVar[int]
    keeps_head: ClassVar[bool] = False

    def fit(self, train: Embedded, norms: Tensor, seed: int) -> Heads:
        """See `StageTwo.fit`."""
        del norms
        # A rate means the same for backbones whose embeddings differ in length.
        length = train.features.square().sum(1).mean().sqrt()

        def scaled(features: Tensor) -> Tensor:
            return torch.cat([features / length, features.new_ones(len(features), 1)], dim=1)

        features, count = scaled(train.features), train.scores.shape[1]
        one_hot = torch.nn.functional.one_hot(train.labels, count).to(features.dtype)
        rate, decay = (self._column(name, features) for name in ("rate", "decay"))
        smoothings = self._smoothing(train).to(features).expand(len(rate), len(features), 1)
        weights = features.new_zeros(len(rate), count, features.shape[1])
        velocity = torch.zeros_like(weights)
        for batch, factor in cosine_batches(train.labels, self.sampler, self.epochs, seed):
            z = features[batch]
            logits = z @ weights.mT + (train.scores[batch] if self.keeps_head else 0)
            smoothing = smoothings[:, batch]
            targets = (1 - smoothing) * one_hot[batch] + smoothing / count
            gradient = (logits.softmax(2) - targets).mT @ z / len(batch) + decay * weights
            velocity = _MOMENTUM * velocity + gradient
            weights = weights - factor * rate * velocity
        return lambda f, s: scaled(f) @ weights.mT + (s if self.keeps_head else 0)

    def _smoothing(self, train: Embedded) -> Tensor:
        """Label smoothing of each candidate, (G, 1, 1), or of each image too, (G, n, 1)."""
        return self._column("smoothing", train.features)


class CRT(_Linear):
    """A new linear head, on batches in which all classes are as likely (Kang et al. 2020)."""

    label = "cRT"
    sampler, epochs = "class-balanced", 10
    grid: ClassVar = {"rate": (0.1, 0.4, 1.6), "decay": (0.0, 1e-4, 1e-3), "smoothing": (0.0,)}


class LOS(_Linear):
    """The model's own head, trained on with strongly smoothed labels (Sun et al. 2025)."""

    label = "LOS"
    sampler, epochs, keeps_head = "uniform", 20, True
    grid: ClassVar = {"rate": (0.03, 0.3), "decay": (0.0,), "smoothing": (0.9, 0.95, 0.98, 0.99)}


class LAS(_Linear):
    """The model's own head, trained on with labels of large classes smoothed more (Zhong et al. 2021).

    Of a class of n images the smoothing is tail + (head - tail) sin(pi/2 (n - n_min) / (n_max - n_min)).
    """

    label = "LAS"
    sampler, epochs, keeps_head = "class-balanced", 10, True
    grid: ClassVar = {"rate": (0.03, 0.3), "decay": (0.0,), "head": (0.2, 0.3, 0.4), "tail": (0.0, 0.1)}

    def _smoothing(self, train: Embedded) -> Tensor:
        """(G, n, 1)."""
        sizes = train.labels.bincount().to(train.features)
        spread = (sizes.max() - sizes.min()).clamp(min=1)
        share = torch.sin(torch.pi / 2 * (sizes - sizes.min()) / spread)[train.labels][:, None]
        head, tail = (self._column(name, train.features) for name in ("head", "tail"))
        return tail + (head - tail) * share


class TauNorm(StageTwo):
    """The model's own scores over the length of their class's weights to the power tau (Kang et al. 2020)."""

    label = "tau-norm"
    grid: ClassVar = {"tau": tuple(k / 10 for k in range(21))}

    def fit(self, train: Embedded, norms: Tensor, seed: int) -> Heads:
        """See `StageTwo.fit`; nothing is trained."""
        del seed
        factors = norms.to(train.scores) ** -self._column("tau", train.scores)
        return lambda f, s: s * factors


class LWS(StageTwo):
    """The model's own scores, multiplied by a learned factor of their class (Kang et al. 2020)."""

    label = "LWS"
    epochs: ClassVar = 10
    grid: ClassVar = {"rate": (0.003, 0.01, 0.03, 0.1, 0.3)}

    def fit(self, train: Embedded, norms: Tensor, seed: int) -> Heads:
        """See `StageTwo.fit`."""
        del norms
        rate, count = self._column("rate", train.scores), train.scores.shape[1]
        factors = train.scores.new_ones(len(rate), 1, count)
        velocity = torch.zeros_like(factors)
        for batch, factor in cosine_batches(train.labels, "class-balanced", self.epochs, seed):
            scores, labels = train.scores[batch], train.labels[batch]
            wrong = (scores * factors).softmax(2) - torch.nn.functional.one_hot(labels, count)
            velocity = _MOMENTUM * velocity + (wrong * scores).mean(1, keepdim=True)
            factors = factors - factor * rate * velocity
        return lambda f, s: s * factors


class NCM(StageTwo):
    """The nearest class mean, -|z - c|^2, of embeddings as they are, of length 1, or centred first."""

    label = "NCM"
    grid: ClassVar = {"embeddings": ("as they are", "normalised", "centred and normalised")}

    def fit(self, train: Embedded, norms: Tensor, seed: int) -> Heads:
        """See `StageTwo.fit`."""
        del norms, seed
        mean, normalised = train.features.mean(0), torch.nn.functional.normalize
        count = train.scores.shape[1]
        sizes = train.labels.bincount(minlength=count)[:, None]
        known: dict[str, Callable[[Tensor], Tensor]] = {
            "as they are": lambda features: features,
            "normalised": lambda features: normalised(features, dim=1),
            "centred and normalised": lambda features: normalised(features - mean, dim=1),
        }

        def forms(features: Tensor) -> list[Tensor]:
            return [known[one["embeddings"]](features) for one in self.candidates]

        def class_means(features: Tensor) -> Tensor:
            return features.new_zeros(count, features.shape[1]).index_add_(0, train.labels, features) / sizes

        centres = [class_means(form) for form in forms(train.features)]
        return lambda f, s: torch.stack(
            [-torch.cdist(form, c).square() for form, c in zip(forms(f), centres, strict=True)]
        )


class LinearProbe(_Linear):
    """A new linear head on images as they come, at one rate: how far classes are linearly separable."""

    label = "linear probe"
    sampler, epochs = "uniform", 10
    grid: ClassVar = {"rate": (1.6,), "decay": (1e-4,), "smoothing": (0.0,)}


class ClassMeans(NCM):
    """The nearest class mean of embeddings that are centred and of length 1."""

    label = "nearest class mean"
    grid: ClassVar = {"embeddings": ("centred and normalised",)}


PROBES: tuple[type[StageTwo], ...] = (LinearProbe, ClassMeans)
"""Heads with one candidate, which tell what a representation is good for."""
