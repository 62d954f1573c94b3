"""Control: as many training images as SLA."""

from __future__ import annotations

from sla_bench.objectives.baseline import Baseline
from sla_bench.transforms import Transform


class BaselineTimesM(Baseline):
    """The baseline with M times the steps; every schedule is stretched with them."""

    row = "baseline-xM"

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform)
        self.step_factor = transform.num_views
