"""Tensors on their way to a device."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Return the values on a device, without waiting for the work of a GPU.

    A copy from memory that the system may move would wait; one from pinned memory stands in line.
    """
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
