"""The mean of a model's weights over steps of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Mean of all floating-point entries of a state dict, statistics of batch normalisation among them.

    Integer entries are the latest. The mean of running statistics stands in for those of the mean weights,
    which would need another pass over the training images.

    Args:
        model: whose state is averaged.

    Attributes:
        count: states in the mean.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._mean: dict[str, Tensor] = {}
        self.count = 0

    @torch.no_grad()
    def add(self) -> None:
        """Take the model's present state into the mean."""
        self.count += 1
        for name, value in self._model.state_dict().items():
            if self.count == 1 or not value.is_floating_point():
                self._mean[name] = value.clone()
            else:
                self._mean[name].lerp_(value, 1 / self.count)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the mean into the model for the time of a `with` block, where there is one."""
        own = {name: value.clone() for name, value in self._model.state_dict().items()} if self.count else {}
        if own:
            self._model.load_state_dict(self._mean)
        try:
            yield
        finally:
            if own:
                self._model.load_state_dict(own)

    def state(self) -> dict[str, Any]:
        """The mean and its count, as tensors and plain types."""
        return {"mean": self._mean, "count": self.count}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        device = next(self._model.parameters()).device
        self._mean = {name: value.to(device) for name, value in state["mean"].items()}
        self.count = state["count"]
