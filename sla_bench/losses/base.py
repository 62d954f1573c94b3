"""What all criteria for imbalanced classes share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

import torch
from torch import Tensor, nn

from sla_bench.errors import UserError
from sla_bench.losses.counts import Counts, checked_counts
from sla_bench.losses.reweighting import ClassBalancedWeights


class Criterion(nn.Module, ABC):
    """A training loss that knows how many training images each class has.

    B images, N classes. Under label augmentation with M views the classes are the N*M joint labels, i*M + j
    for class i under transformation j, and the counts are those of the classes, each repeated M times. What
    depends on the counts lies in buffers that follow `.to(device)` and are not part of the state dict.

    Args:
        class_counts: training images per class, integers (N,), each at least 1.
        reweighting: weights of the classes; None weighs all images the same.

    Raises:
        UserError: a class without an image, or an option out of range.
    """

    def __init__(self, class_counts: Counts, reweighting: ClassBalancedWeights | None = None) -> None:
        super().__init__()
        self.num_classes = len(checked_counts(class_counts))
        self.reweighting = reweighting

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """The mean loss; logits float32 or float64 (B, N), weights (N,) of the same type or None."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch; where classes are weighted, divided by the sum of the images' weights.

        Args:
            logits: (B, N), what `head` returns; low precision is converted to float32.
            labels: int64 (B,), 0..N-1.

        Returns:
            Scalar.

        Raises:
            UserError: shapes or labels do not fit.
        """
        self._check(logits, labels)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weights = self.reweighting.current if self.reweighting is not None else None
        return self.loss(logits, labels, None if weights is None else weights.to(logits.dtype))

    def scores(self, logits: Tensor) -> Tensor:
        """What predictions, aggregation, distillation and calibration read: (..., N) -> (..., N)."""
        return logits

    def reweight(self, progress: float | Fraction) -> None:
        """Switch class weights on or off as they are at this moment; nothing but `progress` matters.

        Args:
            progress: epoch / epochs in [0, 1), epochs counted from 0; in any order, as after a resume.

        Raises:
            UserError: `progress` is not in [0, 1).
        """
        if not 0 <= progress < 1:
            raise UserError(f"progress is epoch / epochs in [0, 1), got {progress}")
        if self.reweighting is not None:
            # An exact 4/5 is less than the float 0.8.
            self.reweighting.reweight(float(progress))

    def head(self, num_features: int) -> nn.Module:
        """A new classifier of the kind that suits the loss, (..., D) -> (..., N), with random weights."""
        return nn.Linear(num_features, self.num_classes)

    def _check(self, logits: Tensor, labels: Tensor) -> None:
        if logits.ndim != 2 or logits.shape[1] != self.num_classes or labels.shape != logits.shape[:1]:
            raise UserError(
                f"a loss of {self.num_classes} classes takes logits (B, {self.num_classes}) and labels (B,); "
                f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        if not logits.is_floating_point() or labels.dtype != torch.int64 or not len(labels):
            raise UserError(
                f"logits must be floating and labels int64, of at least one image; got {logits.dtype}, "
                f"{labels.dtype} and {len(labels)} images"
            )
        # -100 would be passed over in silence by PyTorch's cross entropy.
        low, high = (int(v) for v in labels.aminmax())
        if low < 0 or high >= self.num_classes:
            raise UserError(f"labels must be 0..{self.num_classes - 1}, got {low}..{high}")
