"""Cross entropy with deferred class-balanced weights."""

from __future__ import annotations

from sla_bench.losses.ce import CrossEntropy
from sla_bench.losses.counts import Counts
from sla_bench.losses.reweighting import BETA, DEFERRED, ClassBalancedWeights


class DeferredCrossEntropy(CrossEntropy):
    """CE-DRW: plain cross entropy, then class-balanced weights (Cao et al. 2019, arXiv 1906.07413).

    Args:
        class_counts: see `Criterion`.
        beta: see `ClassBalancedWeights`.
        start: see `ClassBalancedWeights`.
        smoothing: see `CrossEntropy`.
    """

    def __init__(
        self, class_counts: Counts, *, beta: float = BETA, start: float = DEFERRED, smoothing: float = 0.0
    ) -> None:
        super().__init__(class_counts, ClassBalancedWeights(class_counts, beta, start), smoothing=smoothing)
