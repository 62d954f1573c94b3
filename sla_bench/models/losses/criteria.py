"""Cross entropy, focal loss, margins, and corrections for class sizes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.errors import fraction, positive
from sla_bench.models.losses.base import (
    BETA,
    DEFERRED,
    ClassBalancedWeights,
    Counts,
    Criterion,
    checked_counts,
    smoothed_cross_entropy,
)


class CrossEntropy(Criterion):
    """Cross entropy, -log softmax(f)_y, without correction for the imbalance.

    Args:
        class_counts: see `Criterion`.
        reweighting: see `Criterion`; with smoothing, the weight of an image is that of its label.
        smoothing: share of the target that is spread over the other classes, in [0, 1).
    """

    def __init__(
        self, class_counts: Counts, reweighting: ClassBalancedWeights | None = None, *, smoothing: float = 0.0
    ) -> None:
        super().__init__(class_counts, reweighting)
        self.smoothing = fraction(
            "cross entropy", "smoothing", smoothing, "nothing would be left of the label"
        )

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """The mean loss, a scalar."""
        if not self.smoothing:
            return F.cross_entropy(logits, labels, weight=weights)
        losses = smoothed_cross_entropy(logits, labels, self.smoothing, "none")
        if weights is None:
            return losses.mean()
        own = weights[labels]
        return (own * losses).sum() / own.sum()


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


class Focal(Criterion):
    """Focal loss, -(1 - p_y)^gamma log p_y with p = softmax(f) (Lin et al., ICCV 2017, arXiv 1708.02002).

    That paper has sigmoids of a detector; this is LDAM-DRW's form for a softmax. With class weights it takes
    p from the weighted cross entropy, as there: with c = -w_y log p_y the loss is (1 - e^-c)^gamma c, and the
    mean is over images, not over weights.

    Args:
        class_counts: see `Criterion`.
        reweighting: see `Criterion`.
        gamma: above 0; larger values look away from images that are right already.
    """

    def __init__(
        self, class_counts: Counts, reweighting: ClassBalancedWeights | None = None, *, gamma: float = 1.0
    ) -> None:
        super().__init__(class_counts, reweighting)
        self.gamma = positive("focal loss", "gamma", gamma)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """The mean over images, also with weights, a scalar."""
        entropy = F.cross_entropy(logits, labels, weight=weights, reduction="none")
        # 1 - p has no derivative under a power below 1 where p rounds to 1.
        miss = (-torch.expm1(-entropy)).clamp_min(torch.finfo(logits.dtype).tiny)
        return (miss**self.gamma * entropy).mean()


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


class CosineHead(nn.Module):
    """Cosine of the feature and the weight of each class, without bias: (..., D) -> (..., N), in [-1, 1].

    As in the code of LDAM-DRW (Cao et al. 2019), the scale of the logits belongs to the loss, and the initial
    weights are uniform in [-1, 1], then brought to length 1. A feature vector of length 0 gives logits 0.

    Args:
        num_features: D.
        num_classes: N.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.empty(num_features, num_classes).uniform_(-1, 1), dim=0))

    def forward(self, features: Tensor) -> Tensor:
        """(..., D) -> (..., N)."""
        return F.normalize(features, dim=-1) @ F.normalize(self.weight, dim=0)


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
        """The mean loss, a scalar."""
        margin = F.one_hot(labels, self.num_classes) * self.margins.to(logits.dtype)
        return F.cross_entropy(self.scale * (logits - margin), labels, weight=weights)

    def scores(self, logits: Tensor) -> Tensor:
        """S f, (..., N)."""
        return self.scale * logits

    def head(self, num_features: int) -> nn.Module:
        """A cosine head, (..., D) -> (..., N)."""
        return CosineHead(num_features, self.num_classes)


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


class BalancedSoftmax(Criterion):
    """Cross entropy of f + log n (Ren et al., NeurIPS 2020, arXiv 2007.10740).

    The softmax carries the class sizes of training, so that f is left to carry a test's equal ones. Scores
    are f.

    Args:
        class_counts: see `Criterion`.
        reweighting: see `Criterion`.
    """

    log_counts: Tensor

    def __init__(self, class_counts: Counts, reweighting: ClassBalancedWeights | None = None) -> None:
        super().__init__(class_counts, reweighting)
        self.register_buffer("log_counts", checked_counts(class_counts).log().float(), persistent=False)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """The mean loss, a scalar."""
        return F.cross_entropy(logits + self.log_counts.to(logits.dtype), labels, weight=weights)


class LogitAdjustment(CrossEntropy):
    """Trained by cross entropy, read as f - tau log(n_y / n) (Menon et al., ICLR 2021, arXiv 2007.07314).

    n is the number of training images, n_y those of the class.

    Args:
        class_counts: see `Criterion`.
        tau: above 0; 1 is right for calibrated probabilities.
    """

    log_prior: Tensor

    def __init__(self, class_counts: Counts, *, tau: float = 1.0) -> None:
        super().__init__(class_counts)
        self.tau = positive("logit adjustment", "tau", tau)
        counts = checked_counts(class_counts)
        self.register_buffer("log_prior", (counts / counts.sum()).log().float(), persistent=False)

    def scores(self, logits: Tensor) -> Tensor:
        """F - tau log(n_y / n), (..., N)."""
        return logits - self.tau * self.log_prior.to(logits.dtype)
