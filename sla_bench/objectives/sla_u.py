"""Control: SLA and a second head that is not distilled. Is it the distillation?"""

from __future__ import annotations

from torch import Tensor

from sla_bench.objectives.classifier_base import Classes
from sla_bench.objectives.sla_sd import DistilledSLA
from sla_bench.transforms import Transform


class UndistilledSLA(DistilledSLA):
    """`sla+sd` without the divergence between the heads; they share the backbone only."""

    row = "SLA+U"

    def __init__(
        self, num_features: int, classes: Classes, transform: Transform, single_weight: float = 1.0
    ) -> None:
        super().__init__(num_features, classes, transform, single_weight=single_weight)

    def distillation(self, joint_logits: Tensor, logits: Tensor) -> Tensor:
        """Zero (scalar)."""
        del joint_logits
        return logits.new_zeros(())
