"""Cross entropy with label smoothing."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from sla_bench.errors import UserError


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
