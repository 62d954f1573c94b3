"""Label-distribution-aware margins."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.checks import positive
from sla_bench.losses.base import Criterion
from sla_bench.losses.cosine_head import CosineHead
from sla_bench.losses.counts import Counts, checked_counts
from sla_bench.losses.reweighting import ClassBalancedWeights

MAX_MARGIN = 0.5
SCALE = 30.0


class LDAM(Criterion):
    """LDAM: cross entropy of s (f - m_y on the label), f cosines (Cao et al. 2019, arXiv 1906.07413).

    The margins are m_i = C n_i^(-1/4) with C such that the smallest class has `max_margin`, as in its code.
    Scores are s f, without the margin.

    Args:
        class_counts: see `Criterion`.
        reweighting: see `Criterion`.
        max_margin: margin of the smallest class, in units of the cosine; above 0.
        scale: s, above 0.
    """

    margins: Tensor

    def __init__(
        self,
        class_counts: Counts,
        reweighting: ClassBalancedWeights | None = None,
        *,
        max_margin: float = MAX_MARGIN,
        scale: float = SCALE,
    ) -> None:
        super().__init__(class_counts, reweighting)
        self.scale = positive("LDAM", "scale", scale)
        margins = checked_counts(class_counts) ** -0.25
        margins *= positive("LDAM", "max_margin", max_margin) / margins.max()
        self.register_buffer("margins", margins.float(), persistent=False)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """See `Criterion.loss`."""
        margin = F.one_hot(labels, self.num_classes) * self.margins.to(logits.dtype)
        return F.cross_entropy(self.scale * (logits - margin), labels, weight=weights)

    def scores(self, logits: Tensor) -> Tensor:
        """S f; see `Criterion.scores`."""
        return self.scale * logits

    def head(self, num_features: int) -> nn.Module:
        """A cosine head; see `Criterion.head`."""
        return CosineHead(num_features, self.num_classes)
