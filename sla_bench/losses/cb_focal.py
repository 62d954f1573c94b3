"""Focal loss with class-balanced weights."""

from __future__ import annotations

from sla_bench.losses.counts import Counts
from sla_bench.losses.focal import Focal
from sla_bench.losses.reweighting import BETA, ClassBalancedWeights


class ClassBalancedFocal(Focal):
    """CB-Focal: the focal loss of the class-weighted cross entropy, in LDAM-DRW's form; see `Focal`.

    Args:
        class_counts: see `Criterion`.
        gamma: see `Focal`.
        beta: see `ClassBalancedWeights`.
        start: see `ClassBalancedWeights`.
    """

    def __init__(
        self, class_counts: Counts, *, gamma: float = 1.0, beta: float = BETA, start: float = 0.0
    ) -> None:
        super().__init__(class_counts, ClassBalancedWeights(class_counts, beta, start), gamma=gamma)
