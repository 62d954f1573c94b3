"""Every method: its training loss, and how predictions are read at test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from sla_bench.errors import not_negative, positive, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from sla_bench.objectives.scores import Scores
    from sla_bench.views.draws import Draw
    from sla_bench.views.transforms import Transform

Layer = Literal["class", "joint", "teacher", "view", "projection", "prototype"]
"""A task that is learned: N classes, N*M joint labels, N classes by a second layer, M views, alike views.

The last two layers project features, and the weights of each class in the class layer.
"""

OVER_CLASSES: tuple[Layer, ...] = ("class", "joint", "teacher")
"""Layers from which classes are predicted."""

Kind = Literal["class", "joint", "own", "teacher", "view", "projection", "prototype"]
"""The scores of a layer; "own" are the N columns of the joint scores that belong to the view itself."""

GROUPS = ("all", "controls", "relatives")
"""Names that stand for several methods: those of the paper, their controls, and relatives of SLA."""
JOINT_SCOPES = ("all", "view")
_NO_DISTILLATION = (
    "a few-shot test has no fixed set of classes to distil into; use sla, whose rows show single (SLA+SI) "
    "and aggregated (SLA+AG) inference"
)
_EPISODES_ONLY = "it is about episodes"


class Read(NamedTuple):
    """A row of the tables: the scores that are read, and the views.

    Args:
        of: the scores; "class", "own" or "teacher".
        mode: short name of the inference: "si" single, "ag" aggregated, "sd" distilled, "tta" the mean over
            the views of a head that predicts each view by itself.
        mean: the scores are averaged over all views; else those of the image as it is.
        shown: the row is in the tables; else it is recorded only.
    """

    of: Kind
    mode: str
    mean: bool = False
    shown: bool = True


def _plain(name: str) -> dict[str, Read]:
    """The class scores of the image as it is, and +TTA, their mean over the views."""
    return {name: Read("class", "si"), f"{name}+TTA": Read("class", "tta", mean=True)}


@dataclass(frozen=True, kw_only=True)
class Objective:
    """CE(u(z_0), y): the baseline, and the base class of all methods.

    A method is an instance and serves episodes and fixed classes alike: it asks `Scores` for scores, cross
    entropies and divergences of a batch, and depends on neither head, nor loss, nor data. Letters: N classes,
    M views, z_j the features of view j; u scores the classes, w the joint labels, v the view.

    Args:
        name: of its row in the tables, and of its head.
        layers: the tasks that are learned. For fixed classes each is a layer; in episodes "class" and "joint"
            are the few-shot head.
        trains_on_views: training embeds all M views of each image, else the image as it is.
        draws: training embeds what this draws of each image instead.
        multiplies: the factor of cost that M multiplies in a control: "steps" with every schedule; "copies"
            of each image in a batch, each with its own crop and flip; "members", models of disjoint seeds
            whose scores are averaged; "ways" of a training episode.
        times: the factor that takes the place of M; 0: M.
        per_view: the factor is so many times M.
        pretext: a network is first trained by this objective, for as many images of the recipe's steps. None:
            it starts from random weights.
        keeps: what remains of that network: its backbone, from which the training starts; its scores, which
            teach; or both, with the heads.
        view_from_scores: the view is told from the class scores, else from the features.
        mixes_maps: training mixes the first image that is drawn of each with that of another, as pixels or
            after a stage of the backbone.
        branches: training embeds images by branches of the backbone, too, one after each stage.
        pools_views: a class of the pool of training episodes is a pair (class, view).
        control: it is a control: `--method controls` names it; otherwise `--method all` does.
        relative: `--method relatives` names it in their place.
        not_on_episodes: the reason why the method can't be used on episodes; empty: it can.
        not_on_classes: the same for fixed classes.
        classifier_only: few-shot learning can use it where the backbone is that of a classifier.
    """

    name: str = "baseline"
    layers: tuple[Layer, ...] = ("class",)
    trains_on_views: bool = False
    draws: Draw | None = None
    multiplies: Literal["nothing", "steps", "copies", "members", "ways"] = "nothing"
    times: int = 0
    per_view: int = 1
    pretext: Objective | None = None
    keeps: Literal["backbone", "scores", "both"] = "backbone"
    view_from_scores: bool = False
    mixes_maps: bool = False
    branches: bool = False
    pools_views: bool = False
    control: bool = False
    relative: bool = False
    not_on_episodes: str = ""
    not_on_classes: str = ""
    classifier_only: bool = False

    def loss(self, scores: Scores) -> Tensor:
        """The training loss of a batch, a scalar.

        The term that is asked for first, of class or joint scores, also gives the training accuracy.
        """
        return scores.ce("class", "upright")

    @property
    def reads(self) -> Mapping[str, Read]:
        """Row -> how it is read, in the order of the tables; the first is the method's own."""
        return _plain(self.name)

    @property
    def invariant(self) -> frozenset[Layer]:
        """Layers over the classes that learn one label for all views of an image."""
        return frozenset()

    @property
    def heads(self) -> dict[str, Layer]:
        """Name -> layer that predicts classes; a second one is the teacher of the first."""
        names = (self.name, f"{self.name} teacher")
        return dict(zip(names, (layer for layer in self.layers if layer in OVER_CLASSES), strict=False))

    @property
    def invariant_heads(self) -> frozenset[str]:
        """Names of the heads that learn one label for all views of an image."""
        return frozenset(name for name, layer in self.heads.items() if layer in self.invariant)

    @property
    def knows_views(self) -> bool:
        """The layer of single inference learns all views; otherwise turned views are no use at test."""
        single = self.reads[self.single_row].of
        return single == "own" or single in self.invariant

    @property
    def augments_labels(self) -> bool:
        """It learns joint labels: self-supervised label augmentation, and not a baseline or control."""
        return "joint" in self.layers

    @property
    def single_row(self) -> str:
        """The row of single inference, one pass per member: validation reads it, whatever is first."""
        return next(row for row, read in self.reads.items() if not read.mean)

    @property
    def crops_row(self) -> str:
        """The row of single inference averaged over M crops and flips, where it is read."""
        return f"{self.single_row}+crops"

    @property
    def group(self) -> str:
        """The name among GROUPS that stands for the method among others."""
        return "relatives" if self.relative else "controls" if self.control else "all"

    @property
    def needs_stages(self) -> bool:
        """Training looks into the stages of the backbone."""
        return self.branches or self.mixes_maps

    @property
    def tells_views(self) -> bool:
        """A layer tells the views of the transform apart."""
        return "view" in self.layers and (self.draws is None or self.draws.makes_views)

    def factor(self, part: str, num_views: int) -> int:
        """The factor of "steps", "copies", "members" or "ways", of M views."""
        return (self.times or self.per_view * num_views) if self.multiplies == part else 1

    def images_per_image(self, num_views: int) -> int:
        """V, images through the network in training for each image of a batch: views, or copies."""
        if self.draws is not None:
            return self.draws.per_image(num_views)
        return num_views if self.trains_on_views else self.factor("copies", num_views)

    def cost(self, num_views: int, once: bool = False) -> int:
        """Images through the network in a training, as a multiple of the baseline's.

        Args:
            num_views: M.
            once: each image counts once for all its views and copies.
        """
        factors = (self.factor(part, num_views) for part in ("steps", "members", "ways"))
        before = 0 if self.pretext is None else self.pretext.cost(num_views, once)
        return before + math.prod(factors, start=1 if once else self.images_per_image(num_views))

    @property
    def depends_on_transform(self) -> bool:
        """Training differs between transformations; else only the views at test do."""
        multiplied = self.multiplies != "nothing" and not self.times
        before = self.pretext is not None and self.pretext.depends_on_transform
        return self.trains_on_views or multiplied or self.draws is not None or before

    def refusal(self, transform: Transform, size: int) -> str | None:
        """Say why the method cannot have a transform, or images of `size` pixels; None where it can."""
        sentences = (part.refusal(transform, size) for part in (self.pretext, self.draws) if part is not None)
        return next((sentence for sentence in sentences if sentence), None)


@dataclass(frozen=True, kw_only=True)
class DataAugmentation(Objective):
    """mean_j CE(u(z_j), y): every view carries its image's label.

    In episodes one head of N ways is fitted on all views of the supports. With copies in place of views it is
    the control of large batches.
    """

    trains_on_views: bool = True

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        return scores.ce("class", "pooled")

    @property
    def invariant(self) -> frozenset[Layer]:
        """The class layer, where it sees views."""
        return frozenset({"class"} if self.trains_on_views else ())


@dataclass(frozen=True, kw_only=True)
class SeparateViews(Objective):
    """mean_j CE(u_j(z_j), y): in episodes a head for each view, without negatives across views."""

    trains_on_views: bool = True

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        return scores.ce("class")


@dataclass(frozen=True, kw_only=True)
class MultiTask(DataAugmentation):
    """mean_j [CE(u(z_j), y) + CE(v(z_j), j)]: the view is a second task."""

    layers: tuple[Layer, ...] = ("class", "view")

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        return super().loss(scores) + scores.ce("view")


@dataclass(frozen=True, kw_only=True)
class AuxiliaryRotation(Objective):
    """CE(u(z_0), y) + beta mean_j CE(v(z_j), j): the view is a second task, without forced invariance.

    Gidaris et al. 2019, arXiv 1906.05186.

    Args:
        weight: beta, above 0.

    Raises:
        UserError: the weight is not positive.
    """

    layers: tuple[Layer, ...] = ("class", "view")
    trains_on_views: bool = True
    weight: float = 1.0

    def __post_init__(self) -> None:
        positive("rot-aux", "weight", self.weight)

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        return super().loss(scores) + self.weight * scores.ce("view")


@dataclass(frozen=True, kw_only=True)
class LabelAugmentation(Objective):
    """mean_j CE(w(z_j), (y, j)): one task over the joint labels, the mean over the views of the training.

    Lee, Hwang and Shin, ICML 2020, arXiv 1910.05872. Its few-shot code was never published; this follows its
    classification code: an N-way K-shot episode becomes N*M-way K-shot, and every view of every query is a
    training example. `SLA+plain`, in episodes, reads the network with an ordinary N-way head.

    Args:
        joint_scope: "all": softmax over all N*M columns; "view": over the N columns of the view itself.

    Raises:
        UserError: unknown scope.
    """

    name: str = "SLA"
    layers: tuple[Layer, ...] = ("joint",)
    trains_on_views: bool = True
    joint_scope: str = "all"

    def __post_init__(self) -> None:
        if self.joint_scope not in JOINT_SCOPES:
            raise unknown("joint_scope", str(self.joint_scope), JOINT_SCOPES)

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        return scores.ce("joint" if self.joint_scope == "all" else "own")

    @property
    def reads(self) -> Mapping[str, Read]:
        """SLA+AG, the vote of all views; SLA+SI, one pass; the ordinary head."""
        return {
            f"{self.name}+AG": Read("own", "ag", mean=True),
            f"{self.name}+SI": Read("own", "si"),
            **_plain(f"{self.name}+plain"),
        }


@dataclass(frozen=True, kw_only=True)
class Distilled(Objective):
    """mean_j CE(w(z_j), (y, j)) + beta CE(u(z_0), y) + T^2 KL(agg / T || u(z_0) / T): one pass at test.

    Lee, Hwang and Shin 2020, section 3; temperature and weight are those of its code. The class layer learns
    from the labels and from agg, the mean of its teacher's scores over the views. The teacher is the joint
    layer, or a second layer over the classes that learns every view under its image's label. The divergence
    gives the teacher no gradient and has no class weights.

    Args:
        temperature: T of the distillation, above 0.
        single_weight: beta, at least 0.
        distils: the divergence counts; else the layers share the backbone only.

    Raises:
        UserError: temperature or weight out of range.
    """

    name: str = "SLA+SD"
    layers: tuple[Layer, ...] = ("class", "joint")
    trains_on_views: bool = True
    not_on_episodes: str = _NO_DISTILLATION
    temperature: float = 1.0
    single_weight: float = 1.0
    distils: bool = True

    def __post_init__(self) -> None:
        positive("distillation", "temperature", self.temperature)
        not_negative("distillation", "single_weight", self.single_weight)

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        loss = scores.ce(self.layers[1]) + self.single_weight * scores.ce("class", "upright")
        return loss + scores.kl("class", self._teacher, self.temperature) if self.distils else loss

    @property
    def reads(self) -> Mapping[str, Read]:
        """The class layer, whose mean over untrained views is only recorded, and its teacher."""
        return {
            **_plain(self.name),
            self.name: Read("class", "sd"),
            f"{self.name} teacher": Read(self._teacher, "ag", mean=True, shown=False),
        }

    @property
    def invariant(self) -> frozenset[Layer]:
        """The teacher over the classes."""
        return frozenset({"teacher"})

    @property
    def _teacher(self) -> Kind:
        return "own" if self.layers[1] == "joint" else self.layers[1]


BASELINE = Objective()
DA = DataAugmentation(name="DA")
MT = MultiTask(name="MT")
ROT_AUX = AuxiliaryRotation(name="rot-aux", control=True)
SLA = LabelAugmentation()
SLA_SD = Distilled()
SLA_U = Distilled(name="SLA+U", distils=False, control=True)
DA_SD = Distilled(name="DA+SD", layers=("class", "teacher"), control=True)
VIEWS = SeparateViews(name="views", control=True, not_on_classes=_EPISODES_ONLY)
BASELINE_XM = Objective(name="baseline-xM", multiplies="steps", control=True)
BASELINE_REPM = DataAugmentation(
    name="baseline-repM", multiplies="copies", trains_on_views=False, control=True
)
ENS_M = Objective(name="ens-M", multiplies="members", control=True)
BASELINE_NMWAY = Objective(
    name="baseline-NMway", multiplies="ways", control=True, not_on_classes=_EPISODES_ONLY
)
ROTPOOL_NMWAY = Objective(
    name="rotpool-NMway", multiplies="ways", pools_views=True, control=True, not_on_classes=_EPISODES_ONLY
)
