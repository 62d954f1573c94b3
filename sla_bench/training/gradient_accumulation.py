"""The gradient of a mean, with one term's graph in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Part = Callable[[], tuple[Tensor, Tensor]]
"""Makes one loss (scalar) and its accuracy (scalar)."""


def mean_of_parts(parts: Sequence[Part], parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean loss and accuracy (scalars) of some parts; the loss carries the gradient of that mean.

    It is linear in the parameters, with the accumulated gradients as slopes, so that `backward` leaves them
    where the graph of the mean itself would.

    Args:
        parts: each is called once, in order, and its graph is gone before the next.
        parameters: all that the losses are differentiated by; one that a loss does not use counts as zero.
    """
    slopes = [torch.zeros_like(p) for p in parameters]
    losses, accuracies = [], []
    for part in parts:
        loss, accuracy = part()
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        for slope, grad in zip(slopes, grads, strict=True):
            if grad is not None:
                slope.add_(grad, alpha=1 / len(parts))
        losses.append(loss.detach())
        accuracies.append(accuracy)
    mean = torch.stack(losses).mean()
    for parameter, slope in zip(parameters, slopes, strict=True):
        mean = mean + ((parameter - parameter.detach()) * slope).sum()
    return mean, torch.stack(accuracies).mean()
