"""Class sizes, as a criterion takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sla_bench.errors import UserError

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
