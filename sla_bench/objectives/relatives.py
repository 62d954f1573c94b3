"""Methods beside SLA: random views, turned parts of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sla_bench.errors import not_negative
from sla_bench.objectives.objective import LabelAugmentation, Layer, Objective
from sla_bench.views.draws import LocalTurns, RandomViews

if TYPE_CHECKING:
    from torch import Tensor

    from sla_bench.objectives.scores import Scores


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


# EASY (Bendou et al. 2022, arXiv 2201.09699) without its pass of manifold mixup: both tasks weigh one half.
ROT_X1 = TellsDraw(name="rot-x1", draws=RandomViews(), class_weight=0.5, weight=0.5, relative=True)
_ONE, _TWO = RandomViews(by_way=True), RandomViews(2, by_way=True)
SLA_X1 = LabelAugmentation(name="SLA-x1", trains_on_views=False, draws=_ONE, relative=True)
SLA_HALF = replace(SLA_X1, name="SLA-half", draws=_TWO)
LOROT_I = TurnedBox(relative=True)
LOROT_E = TellsDraw(name="LoRot-E", draws=LocalTurns(quadrants=True), relative=True)
BASELINE_X2 = Objective(name="baseline-x2", multiplies="steps", times=2, control=True, relative=True)
