"""Methods beside SLA: random views, turned parts of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sla_bench.errors import not_negative
from sla_bench.objectives.objective import LabelAugmentation, Layer, Objective
from sla_bench.views.draws import Draw, LocalTurns, RandomViews

if TYPE_CHECKING:
    from torch import Tensor

    from sla_bench.objectives.scores import Scores
    from sla_bench.views.transforms import Transform

_ANY_VIEW = RandomViews()


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
