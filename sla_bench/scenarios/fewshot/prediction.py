"""Few-shot classifiers of new pictures, fitted on labelled ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.config import FewShotRun
from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError, unknown
from sla_bench.evaluation.embedding import embed
from sla_bench.models.backbones.base import Backbone
from sla_bench.objectives.episodes import EpisodeFeatures, EpisodeScores
from sla_bench.registry import LEARNERS, TRANSFORMS
from sla_bench.scenarios.classify.prediction import Images, PictureReader, as_list, name_of
from sla_bench.scenarios.fewshot.frozen import FrozenReader, SomeViews, candidates
from sla_bench.views.augment import ImageBatches
from sla_bench.words import from_home

MODES: Mapping[str, tuple[str, str]] = {
    "si": ("baseline", "baseline"),
    "ag": ("sla", "SLA+AG"),
    "tta": ("baseline", "baseline+TTA"),
    "flip": ("baseline", "baseline+flip"),
}
"""Mode -> method and row of a frozen network, see `frozen.ROWS`."""
_FOLDS = 10
_TEMPERATURES = torch.logspace(-2, 2, 161, dtype=torch.float64)
NO_DATA = "folder:"
"""Data set of a network that no run has trained."""
NOTE, FORMAT = "few-shot classifier", "sla-bench 1"


@dataclass(frozen=True)
class Setup:
    """Whatever a few-shot classifier is made of, beside its support.

    Args:
        run: fields of the few-shot run that names backbone, weights, head and precision.
        size: height = width of the pictures; None: that of the run's data set.
        mode: a key of MODES.
        transform: makes the M views of an image.
    """

    run: dict[str, Any]
    size: int | None
    mode: str
    transform: str

    @property
    def config(self) -> FewShotRun:
        """The run."""
        return FewShotRun.model_validate(self.run)

    @property
    def properties(self) -> ImageProperties:
        """Size and normalisation of the pictures."""
        if self.config.dataset == NO_DATA and self.size is not None:
            return ImageProperties(self.size)
        own = dataset_named(self.config.dataset).properties
        return own if self.size is None else replace(own, size=self.size)


class FewShotPrediction(NamedTuple):
    """The class of each of B images, int64 (B,), probabilities (B, N), the nearest support, int64 (B,)."""

    classes: np.ndarray
    probabilities: np.ndarray
    nearest: np.ndarray


class FewShotClassifier(PictureReader):
    """A head that is fitted on support pictures, on the features of a network that does not change.

    Weight C of logistic regression and temperature are chosen by leaving one support of each class out, as
    far as classes have more than one: the temperature minimises the cross entropy with Platt's targets.

    Args:
        setup: network, head and mode.
        backbone: the network.
        support: features (S, M, D) of the support pictures.
        labels: int64 (S,), 0..N-1.
        class_names: N names.
        support_names: S names of pictures.

    Raises:
        UserError: fewer than two classes.
    """

    def __init__(
        self,
        setup: Setup,
        backbone: Backbone,
        support: Tensor,
        labels: Tensor,
        class_names: tuple[str, ...],
        support_names: tuple[str, ...],
    ) -> None:
        super().__init__(setup.properties)
        if len(class_names) < 2:
            raise UserError(f"the support has {len(class_names)} class; it takes at least two")
        self.setup, self._backbone, self._support, self._labels = setup, backbone, support, labels
        self.class_names, self.support_names = class_names, support_names
        method, row = MODES[setup.mode]
        self._fit, self._views = FrozenReader(method, TRANSFORMS.load(setup.transform)).row_and_views(row)
        heads = _heads(setup.config)
        held_out = [(head, *self._held_out(head)) for head in heads]
        self._head = heads[0]
        self.temperature = 1.0
        if len(held_out[0][2]):
            costs = [_best_temperature(logits, own) for _, logits, own in held_out]
            best = min(range(len(heads)), key=lambda k: costs[k][0])
            self._head, self.temperature = heads[best], costs[best][1]

    @property
    def modes(self) -> tuple[str, ...]:
        """The one inference that it has."""
        return (self.setup.mode,)

    def predict(self, images: Images, mode: str | None = None) -> FewShotPrediction:
        """Predict the classes of images in any form, as `Classifier.predict` takes them.

        Args:
            images: one image, or any number of them.
            mode: None, or the one of `modes`.

        Raises:
            UserError: another mode, no images, or one that cannot be read.
        """  # noqa: DOC501
        if mode not in (None, self.setup.mode):
            raise unknown("mode", str(mode), self.modes)
        query = torch.cat([self._embed(part) for part in self.pixels(images)])
        scores = self._logits(self._head, self._support, self._labels, query) / self.temperature
        unit = F.normalize(self._support[:, 0], dim=1)
        nearest = (F.normalize(query[:, 0], dim=1) @ unit.T).argmax(1)
        return FewShotPrediction(scores.argmax(1).numpy(), scores.softmax(1).numpy(), nearest.numpy())

    def with_class(self, name: str, images: Images) -> FewShotClassifier:
        """The classifier with another class, or with more pictures of one that it has; nothing is trained.

        Args:
            name: of the class.
            images: its support pictures.

        Raises:
            UserError: an image that cannot be read.
        """
        names = self.class_names if name in self.class_names else (*self.class_names, name)
        features = torch.cat([self._embed(part) for part in self.pixels(images)])
        own = torch.full((len(features),), names.index(name))
        added = tuple(name_of(image, place) for place, image in enumerate(as_list(images)))
        return FewShotClassifier(
            self.setup,
            self._backbone,
            torch.cat([self._support, features]),
            torch.cat([self._labels, own]),
            names,
            (*self.support_names, *added),
        )

    def save(self, path: str | Path) -> None:
        """Write the classifier as one file, with a trained network but without pretrained weights.

        Args:
            path: the file, a safetensors.

        Raises:
            UserError: the file cannot be written.
        """
        # The state of a frozen network is empty: its weights are pretrained.
        tensors = {"support": self._support, "labels": self._labels}
        tensors |= {f"backbone.{name}": value for name, value in self._backbone.state_dict().items()}
        about = {
            "format": FORMAT,
            "setup": asdict(self.setup),
            "class_names": self.class_names,
            "support_names": self.support_names,
        }
        content = save({n: t.contiguous() for n, t in tensors.items()}, {NOTE: json.dumps(about)})
        try:
            from_home(path).write_bytes(content)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from None

    def _embed(self, pixels: np.ndarray) -> Tensor:
        return embedded(self._backbone, self._views, pixels, self.properties, self.setup.config)

    def _logits(self, head: nn.Module, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        nobody = torch.zeros(1, len(query), dtype=torch.int64)
        features = EpisodeFeatures(support[None], labels[None], query[None], nobody, len(self.class_names))
        with torch.no_grad():
            return self._fit(EpisodeScores(features, head))[0].double()

    def _held_out(self, head: nn.Module) -> tuple[Tensor, Tensor]:
        """Logits (n, N) and labels (n,) of supports by heads that were fitted without them."""
        ranks = _ranks(self._labels)
        counts = torch.bincount(self._labels)[self._labels]
        folds = torch.where(counts > 1, ranks % counts.clamp(max=_FOLDS), -1)
        logits, labels = [torch.zeros(0, len(self.class_names), dtype=torch.float64)], [self._labels[:0]]
        for fold in range(int(folds.max()) + 1):
            out = folds == fold
            logits.append(self._logits(head, self._support[~out], self._labels[~out], self._support[out]))
            labels.append(self._labels[out])
        return torch.cat(logits), torch.cat(labels)


def _ranks(labels: Tensor) -> Tensor:
    """The place of each support among those of its class, int64 (S,)."""
    same = labels[:, None] == labels[None, :]
    return same.tril(-1).sum(1)


def _best_temperature(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the least cross entropy, with Platt's targets, and its temperature.

    The target of the true class is (n + 1) / (n + 2) for n images: a few right answers do not make certain.

    Args:
        logits: float64 (n, N).
        labels: int64 (n,).
    """
    images, classes = logits.shape
    rest = 1 / (images + 2)
    targets = torch.full_like(logits, rest / (classes - 1)).scatter_(1, labels[:, None], 1 - rest)
    costs = [float(-(targets * (logits / T).log_softmax(1)).sum(1).mean()) for T in _TEMPERATURES]
    best = min(range(len(costs)), key=costs.__getitem__)
    return costs[best], float(_TEMPERATURES[best])


def _heads(run: FewShotRun) -> list[nn.Module]:
    """The head, first with its own options, then with each C where that is to be chosen."""
    head, options = LEARNERS.load(run.learner), dict(run.learner_options)
    if run.learner == "simpleshot":
        # The mean of the base classes, which CL2N subtracts, is not known here: L2N.
        options["centred"] = False
    return [head(**options), *candidates(run.learner, options).values()]


def embedded(
    backbone: Backbone, views: SomeViews, pixels: np.ndarray, properties: ImageProperties, run: FewShotRun
) -> Tensor:
    """Features (B, M, D) of pixels uint8 (B, H, W, 3) in some views, on the CPU."""
    images = LabeledImages(pixels, np.zeros(len(pixels), np.int64), ("any",))
    index = torch.arange(len(pixels))
    batches = ImageBatches(images, properties, next(backbone.parameters()).device)
    return embed(backbone, batches, index, views, precision=run.precision).cpu()
