"""Checks of what a criterion is built from."""

from __future__ import annotations

import math
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


def positive(loss: str, option: str, value: float) -> float:
    """Return `value` as a float.

    Raises:
        UserError: it is not a finite number above 0; `loss` and `option` say what it is for.
    """
    if not _is_number(value) or not 0 < value < math.inf:
        raise UserError(f"{loss}: {option} must be a finite number above 0, got {value!r}")
    return float(value)


def fraction(loss: str, option: str, value: float, why: str) -> float:
    """Return `value` as a float.

    Raises:
        UserError: it is not in [0, 1); `why` says what it would mean to be at 1 or above.
    """
    if not _is_number(value) or not 0 <= value < 1:
        reason = f": {why}" if _is_number(value) and value >= 1 else ""
        raise UserError(f"{loss}: {option} must be a number in [0, 1), got {value!r}{reason}")
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
