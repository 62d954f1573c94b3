"""Label-distribution-aware margins with deferred class-balanced weights."""

from __future__ import annotations

from sla_bench.losses.counts import Counts
from sla_bench.losses.ldam import LDAM, MAX_MARGIN, SCALE
from sla_bench.losses.reweighting import BETA, DEFERRED, ClassBalancedWeights


class DeferredLDAM(LDAM):
    """LDAM-DRW: LDAM, then LDAM with class-balanced weights (Cao et al. 2019, arXiv 1906.07413).

    Args:
        class_counts: see `Criterion`.
        max_margin: see `LDAM`.
        scale: see `LDAM`.
        beta: see `ClassBalancedWeights`.
        start: see `ClassBalancedWeights`.
    """

    def __init__(
        self,
        class_counts: Counts,
        *,
        max_margin: float = MAX_MARGIN,
        scale: float = SCALE,
        beta: float = BETA,
        start: float = DEFERRED,
    ) -> None:
        weights = ClassBalancedWeights(class_counts, beta, start)
        super().__init__(class_counts, weights, max_margin=max_margin, scale=scale)
