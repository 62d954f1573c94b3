"""Stops a training before NaN or infinity spoil its state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sla_bench.errors import NotFiniteError


def check_loss(loss: Tensor) -> None:
    """Refuse a loss, scalar, that is NaN or infinite.

    Raises:
        NotFiniteError: it is.
    """
    if not bool(loss.isfinite()):
        raise NotFiniteError(f"the loss is {loss.item()}")


def check_gradient(model: nn.Module) -> None:
    """Refuse gradients with NaN or infinity; call it before the optimiser spoils the weights with them.

    Raises:
        NotFiniteError: there is one; the first parameter of those is named.
    """
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if (name := _first_not_finite(found)) is not None:
        raise NotFiniteError(f"the gradient of {name} is not finite")


def check_weights(model: nn.Module) -> None:
    """Refuse parameters and buffers with NaN or infinity; call it before they are kept or validated.

    Raises:
        NotFiniteError: there is one; the first is named.
    """
    if (name := _first_not_finite(model.state_dict())) is not None:
        raise NotFiniteError(f"{name} is not finite")


def _first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    if not tensors:
        return None
    # A sum is not finite where an element is not, and costs less than a look at each.
    finite = torch.stack([value.sum().float() for value in tensors.values()]).isfinite()
    return None if bool(finite.all()) else list(tensors)[int(finite.logical_not().nonzero()[0])]
