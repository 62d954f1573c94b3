"""Methods beside SLA: random views, turned parts of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sla_bench.errors import fraction, not_negative, positive
from sla_bench.objectives.objective import DataAugmentation, LabelAugmentation, Layer, Objective
from sla_bench.views.draws import Draw, LocalTurns, RandomViews, UprightAndAnother

if TYPE_CHECKING:
    from torch import Tensor

    from sla_bench.objectives.scores import Scores
    from sla_bench.views.transforms import Transform

_ANY_VIEW, _UPRIGHT_AND_ANY = RandomViews(), UprightAndAnother()


@dataclass(frozen=True, kw_only=True)
class TellsDraw(Objective):
    """alpha CE(u(z), y) + beta CE(v(z), j) of an image in the drawn form j, which is a second task.

    Args:
        class_weight: alpha, at least 0.
        weight: beta, at least 0.

    Raises:
        UserError: a weight is negative.
    """

    layers: tuple[Layer, ...] = ("class", "view")
    class_weight: float = 1.0
    weight: float = 0.1

    def __post_init__(self) -> None:
        for name in ("class_weight", "weight"):
            not_negative(self.name, name, getattr(self, name))

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        return self.class_weight * scores.ce("class", "pooled") + self.weight * scores.ce("view")

    @property
    def invariant(self) -> frozenset[Layer]:
        """The class layer, where it sees views."""
        return frozenset({"class"} if self.tells_views else ())


@dataclass(frozen=True, kw_only=True)
class TurnedBox(TellsDraw):
    """CE(u(z), y) + beta CE(v(z), j) of an image in which a box is turned by the quarter turn j: LoRot-I.

    Moon, Kim and Heo, ECCV 2022, arXiv 2207.10023.

    Args:
        box: largest side of the box in pixels; None: half the image.

    Raises:
        UserError: a weight is negative, or the box is not a whole number of pixels.
    """

    name: str = "LoRot-I"
    box: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "draws", LocalTurns(box=self.box))


@dataclass(frozen=True, kw_only=True)
class TurnPrediction(Objective):
    """CE(v(z_j), j), j random: rotation prediction, the pretext task of `ssp`."""

    layers: tuple[Layer, ...] = ("view",)
    draws: Draw | None = _ANY_VIEW

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        return scores.ce("view")

    def refusal(self, transform: Transform, size: int) -> str | None:
        """Refuse transforms that do more than turn."""
        if transform.only_turns:
            return super().refusal(transform, size)
        return f"it predicts rotations, and transform {transform.name!r} does something else; take rotation"


@dataclass(frozen=True, kw_only=True)
class TurnFromScores(DataAugmentation):
    """mean_j [CE(u(z_j), y) + gamma BCE(v(u(z_j)), j)]: the class scores tell the view.

    First generation of SKD, Rajasegaran et al. 2020, arXiv 2006.09785. BCE is a mean over the M columns.

    Args:
        weight: gamma, at least 0.

    Raises:
        UserError: the weight is negative.
    """

    layers: tuple[Layer, ...] = ("class", "view")
    view_from_scores: bool = True
    classifier_only: bool = True
    weight: float = 2.0

    def __post_init__(self) -> None:
        not_negative(self.name, "weight", self.weight)

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        return super().loss(scores) + self.weight * scores.bce("view")


@dataclass(frozen=True, kw_only=True)
class BornAgain(Objective):
    """(1 - beta) CE(u(z_0), y) + beta T^2 KL(t(x_0) / T || u(z_0) / T), t the scores of a baseline before.

    Self-distillation of RFS, Tian et al. 2020, arXiv 2003.11539.

    Args:
        weight: beta, at least 0 and below 1.
        temperature: T, above 0.

    Raises:
        UserError: weight or temperature out of range.
    """

    keeps: Literal["backbone", "scores", "both"] = "scores"
    classifier_only: bool = True
    weight: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        fraction(self.name, "weight", self.weight, "the labels would have no part in it")
        positive(self.name, "temperature", self.temperature)

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        taught = self.weight * scores.kl("class", "before", self.temperature)
        return (1 - self.weight) * super().loss(scores) + taught


@dataclass(frozen=True, kw_only=True)
class PulledTogether(DataAugmentation):
    """T^2 KL(t(x_0) / T || u(z_0) / T) + gamma mean_(j > 0) norm(u(z_j) - u(z_0)), without labels.

    Second generation of SKD, Rajasegaran et al. 2020, arXiv 2006.09785: network and scores t start as those
    of the first generation.

    Args:
        weight: gamma, at least 0.
        temperature: T, above 0.

    Raises:
        UserError: weight or temperature out of range.
    """

    keeps: Literal["backbone", "scores", "both"] = "both"
    classifier_only: bool = True
    weight: float = 0.1
    temperature: float = 2.0

    def __post_init__(self) -> None:
        not_negative(self.name, "weight", self.weight)
        positive(self.name, "temperature", self.temperature)

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        seen = scores.scores("class", "pooled")
        apart: Tensor = (seen[..., 1:, :] - seen[..., :1, :]).norm(dim=-1).mean()
        return scores.kl("class", "before", self.temperature) + self.weight * apart


@dataclass(frozen=True, kw_only=True)
class StagewiseJoint(Objective):
    """CE(u(z_0), y) + sum_l mean_j CE(w_l(b_l(x_j)), (y, j)): a joint head after each stage l.

    The teacher of HSAKD, Yang et al., IJCAI 2021. Branch b_l has layers like those that follow stage l.
    """

    trains_on_views: bool = True
    branches: bool = True
    classifier_only: bool = True

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        loss = super().loss(scores)
        for stage in scores.stages:
            loss = loss + stage.ce("joint")
        return loss


@dataclass(frozen=True, kw_only=True)
class MixedMaps(Objective):
    """l CE(u(m), y) + (1 - l) CE(u(m), y') + 1/2 CE(u(z_j), y) + 1/2 CE(v(z_j), j), j random: S2M2.

    Mangla et al. 2020, arXiv 1907.12087, in the form of EASY's code: m are features of an image that is mixed
    with another, of the label y', in the pixels or after a stage of the backbone.
    """

    layers: tuple[Layer, ...] = ("class", "view")
    draws: Draw | None = _UPRIGHT_AND_ANY
    mixes_maps: bool = True
    classifier_only: bool = True

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        turned = scores.ce("class", "others") + scores.ce("view", "others")
        return scores.mixed_ce("class") + turned / 2

    @property
    def invariant(self) -> frozenset[Layer]:
        """The class layer."""
        return frozenset({"class"})


@dataclass(frozen=True, kw_only=True)
class ViewsAlike(DataAugmentation):
    """mean_j CE(u(z_j), y) + gamma mean_(j > 0) NCE(p(z_j), p(z_0)): invariance, the opposite of SLA.

    The invariant term of Rizve et al. 2021, arXiv 2103.01315; other images of the batch are the negatives.

    Args:
        weight: gamma, at least 0.
        temperature: of the similarities, above 0.

    Raises:
        UserError: weight or temperature out of range.
    """

    layers: tuple[Layer, ...] = ("class", "projection")
    classifier_only: bool = True
    weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        not_negative(self.name, "weight", self.weight)
        positive(self.name, "temperature", self.temperature)

    def loss(self, scores: Scores) -> Tensor:
        """The class's formula, a scalar."""
        return super().loss(scores) + self.weight * self._contrast(scores)

    def _contrast(self, scores: Scores) -> Tensor:
        return scores.nce(self.temperature)


@dataclass(frozen=True, kw_only=True)
class ClassesAlike(ViewsAlike):
    """mean_j CE(u(z_j), y) + gamma BCL(p(z), q(u)): images of a class are alike, in every view.

    Balanced contrastive learning, Zhu et al., CVPR 2022, arXiv 2207.09052: the contrast averages over each
    class, and the projected weights of the class layer are prototypes. The weight is the default of its
    script, for ImageNet-LT, and the temperature that of its loss; the script has 0.07.

    Args:
        weight: gamma, at least 0.
        temperature: of the similarities, above 0.

    Raises:
        UserError: weight or temperature out of range.
    """

    layers: tuple[Layer, ...] = ("class", "projection", "prototype")
    weight: float = 0.35
    temperature: float = 0.1

    def _contrast(self, scores: Scores) -> Tensor:
        return scores.balanced_contrast(self.temperature)


# EASY (Bendou et al. 2022, arXiv 2201.09699) without its pass of manifold mixup: both tasks weigh one half.
ROT_X1 = TellsDraw(name="rot-x1", draws=_ANY_VIEW, class_weight=0.5, weight=0.5, relative=True)
_ONE, _TWO = RandomViews(by_way=True), RandomViews(2, by_way=True)
SLA_X1 = LabelAugmentation(name="SLA-x1", trains_on_views=False, draws=_ONE, relative=True)
SLA_HALF = replace(SLA_X1, name="SLA-half", draws=_TWO)
LOROT_I = TurnedBox(relative=True)
LOROT_E = TellsDraw(name="LoRot-E", draws=LocalTurns(quadrants=True), relative=True)
BASELINE_X2 = Objective(name="baseline-x2", multiplies="steps", times=2, control=True, relative=True)
# Yang and Xu 2020, arXiv 2006.07529.
_TURNS = TurnPrediction(name="rotation prediction")
_FIXED_CLASSES = "its pretraining is built for fixed classes"
SSP = Objective(name="SSP", pretext=_TURNS, not_on_episodes=_FIXED_CLASSES, relative=True)
SSP_SLA = LabelAugmentation(name="SSP+SLA", pretext=_TURNS, not_on_episodes=_FIXED_CLASSES, relative=True)
SKD0 = TurnFromScores(name="SKD0", relative=True)
SKD1 = PulledTogether(name="SKD1", pretext=SKD0, relative=True)
RFS_DISTIL = BornAgain(name="RFS-distil", pretext=Objective(), relative=True)
BASELINE_X2M = Objective(name="baseline-x2M", multiplies="steps", per_view=2, control=True, relative=True)
HSAKD = StagewiseJoint(name="HSAKD", relative=True)
ALIKE = ViewsAlike(name="alike", relative=True)
BCL = ClassesAlike(name="BCL", relative=True)
S2M2 = MixedMaps(name="S2M2", relative=True)
