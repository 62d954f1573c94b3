"""Cross entropy with class-balanced weights."""

from __future__ import annotations

from sla_bench.losses.ce import CrossEntropy
from sla_bench.losses.counts import Counts
from sla_bench.losses.reweighting import BETA, ClassBalancedWeights


class ClassBalancedCrossEntropy(CrossEntropy):
    """CB-RW: cross entropy weighted by the effective number of images (Cui et al. 2019, arXiv 1901.05555).

    Args:
        class_counts: see `Criterion`.
        beta: see `ClassBalancedWeights`.
        start: see `ClassBalancedWeights`.
        smoothing: see `CrossEntropy`.
    """

    def __init__(
        self, class_counts: Counts, *, beta: float = BETA, start: float = 0.0, smoothing: float = 0.0
    ) -> None:
        super().__init__(class_counts, ClassBalancedWeights(class_counts, beta, start), smoothing=smoothing)
