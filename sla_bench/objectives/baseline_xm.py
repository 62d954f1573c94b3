"""Control: as many training images as SLA."""

from __future__ import annotations

from sla_bench.objectives.baseline import Baseline, BaselineClassifier
from sla_bench.objectives.classifier_base import Classes
from sla_bench.transforms import Transform


class BaselineTimesM(Baseline):
    """The baseline with M times the steps; every schedule is stretched with them."""

    row = "baseline-xM"

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform)
        self.step_factor = transform.num_views


class BaselineTimesMClassifier(BaselineClassifier):
    """The baseline with M times the steps; every schedule, re-weighting too, is stretched with them."""

    row = "baseline-xM"

    def __init__(self, num_features: int, classes: Classes, transform: Transform) -> None:
        super().__init__(num_features, classes, transform)
        self.step_factor = transform.num_views
