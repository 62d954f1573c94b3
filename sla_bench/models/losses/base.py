"""Class counts, class weights, label smoothing, and the base class of losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.errors import UserError, fraction

Counts = Sequence[int] | np.ndarray | Tensor


def checked_counts(class_counts: Counts) -> Tensor:
    """Training images per class as float64 (N,), on the CPU.

    Raises:
        UserError: not a list of integers, or a class without an image.
    """
    try:
        counts = np.asarray(class_counts.cpu() if isinstance(class_counts, Tensor) else class_counts)
    except ValueError as error:
        raise UserError(f"class counts must be integers (N,), got {class_counts!r}") from error
    if counts.ndim != 1 or not len(counts) or counts.dtype.kind not in "iu":
        raise UserError(f"class counts must be integers (N,), got {counts.dtype} {counts.shape}")
    if int(counts.min()) < 1:
        empty = int(counts.argmin())
        raise UserError(
            f"class {empty} of {len(counts)} has {int(counts[empty])} training images; "
            "a loss for imbalanced classes needs at least 1 of each class"
        )
    return torch.from_numpy(counts.astype(np.float64))


def smoothed_cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: float, reduction: Literal["mean", "none"] = "mean"
) -> Tensor:
    """Cross entropy with `smoothing` spread over the other classes, as MetaOptNet's train.py has it.

    Args:
        logits: (..., n).
        labels: int64 (...).
        smoothing: eps; the target is 1 - eps on the label and eps / (n - 1) elsewhere.
        reduction: "none" gives the loss of each row, flat.

    Raises:
        UserError: eps leaves the label less than the others.
    """
    ways = logits.shape[-1]
    if smoothing * ways > ways - 1:
        raise UserError(f"label_smoothing of {ways} ways is {(ways - 1) / ways:.3g} at most, got {smoothing}")
    # PyTorch spreads its smoothing over all n classes, the label included.
    return F.cross_entropy(
        logits.reshape(-1, ways),
        labels.reshape(-1),
        label_smoothing=smoothing * ways / (ways - 1),
        reduction=reduction,
    )


BETA = 0.9999
# LDAM-DRW switches on at the 0-based epoch 160 of 200.
DEFERRED = 0.8


class ClassBalancedWeights(nn.Module):
    """Weights of the effective number of images (Cui et al., CVPR 2019, arXiv 1901.05555).

    w_i is proportional to (1 - beta) / (1 - beta^n_i) and the weights sum to N. From `start` on they count;
    before, all images weigh the same (deferred re-weighting: Cao et al., NeurIPS 2019, arXiv 1906.07413).

    Args:
        class_counts: training images per class, integers (N,), each at least 1.
        beta: in [0, 1); 0 gives equal weights, towards 1 they go as 1 / n_i.
        start: fraction of the training in [0, 1) from which the weights count; 0 is from the first epoch.

    Raises:
        UserError: a class without an image, or an option out of range.
    """

    weights: Tensor

    def __init__(self, class_counts: Counts, beta: float = BETA, start: float = 0.0) -> None:
        super().__init__()
        self.beta = fraction(
            "class-balanced weights", "beta", beta, "the effective number of images is defined below 1"
        )
        self.start = fraction(
            "class-balanced weights", "start", start, "re-weighting would start after the last epoch"
        )
        counts = checked_counts(class_counts)
        # 1 - beta^n, with all digits where beta is close to 1; the factor 1 - beta is lost in the sum.
        effective = -torch.expm1(counts * torch.tensor(self.beta, dtype=torch.float64).log())
        weights = effective.reciprocal()
        self.register_buffer("weights", (weights * (len(counts) / weights.sum())).float(), persistent=False)
        self.reweight(0.0)

    def reweight(self, progress: float) -> None:
        """Set the progress of the training, in [0, 1)."""
        self.active = progress >= self.start

    @property
    def current(self) -> Tensor | None:
        """(N,), or None while all images weigh the same."""
        return self.weights if self.active else None


class Criterion(nn.Module, ABC):
    """A training loss built from the class sizes.

    B images, N classes. Under label augmentation with M views the classes are the N*M joint labels, i*M + j
    for class i under transformation j, and each class's count is repeated M times. Tensors
    computed from the counts are buffers that follow `.to(device)` and are not part of the state dict.

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
        """The scores for predictions, aggregation, distillation and calibration: (..., N) -> (..., N)."""
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
        if labels.device.type != "cpu":
            return  # reading them back would make the processor wait at each step
        # PyTorch's cross entropy silently ignores the label -100.
        low, high = (int(v) for v in labels.aminmax())
        if low < 0 or high >= self.num_classes:
            raise UserError(f"labels must be 0..{self.num_classes - 1}, got {low}..{high}")
