"""Notice values that are not finite, without waiting for each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_PATIENCE = 16
"""Steps between two looks: reading a flag back makes the processor wait for a GPU."""


@dataclass(frozen=True)
class NotFinite:
    """The first value of a training that was NaN or infinite.

    Args:
        what: loss, gradient or weights, in words.
        step: at which it was.
        rate: learning rate of the step.
        batch: describes the batch of the step.
    """

    what: str
    step: int
    rate: float
    batch: Callable[[], str]


@dataclass(frozen=True)
class _Noted:
    step: int
    rate: float
    batch: Callable[[], str]
    has_gradient: list[bool]
    numbers: Tensor


def sums(values: list[Tensor]) -> Tensor:
    """A number for each tensor, (n,), that is not finite where an element is not: fastest on a processor."""
    return torch.stack([value.sum() for value in values])


def largest(values: list[Tensor]) -> Tensor:
    """As `sums`, by few kernels of a GPU; `torch.nn.utils.get_total_norm` would not say in which tensor."""
    return torch.stack(torch._foreach_norm(list(values), math.inf))  # noqa: SLF001


class FiniteWatch:
    """Keeps a flag for loss, gradients and weights of each step, and looks at the flags every 16 steps.

    Whoever keeps or validates the weights has to `look` before.

    Args:
        model: its parameters and floating buffers are watched.
    """

    def __init__(self, model: nn.Module) -> None:
        self._noted: list[_Noted] = []
        self.summary = sums if next(model.parameters()).device.type == "cpu" else largest
        self._parameters = dict(model.named_parameters())
        self._state = {
            name: value.detach()
            for name, value in {**self._parameters, **dict(model.named_buffers())}.items()
            if value.is_floating_point() and value.numel()
        }

    def note(self, step: int, rate: float, batch: Callable[[], str], loss: Tensor) -> NotFinite | None:
        """Take the values after a step of the optimiser, and look where it is time.

        Args:
            step: its number.
            rate: learning rate.
            batch: describes the batch.
            loss: scalar, without its graph.

        Returns:
            The first value that is not finite, where there is one and it was time to look.
        """
        gradients = [p.grad for p in self._parameters.values()]
        values = [loss, *(value for value in gradients if value is not None), *self._state.values()]
        there = [value is not None for value in gradients]
        self._noted.append(_Noted(step, rate, batch, there, self.summary(values)))
        return self.look() if len(self._noted) >= _PATIENCE else None

    def look(self) -> NotFinite | None:
        """Return the first value since the last look that is not finite, None where all are."""
        noted, self._noted = self._noted, []
        if not noted or bool(torch.cat([one.numbers for one in noted]).isfinite().all()):
            return None
        first = next(one for one in noted if not bool(one.numbers.isfinite().all()))
        place = int(first.numbers.isfinite().logical_not().nonzero()[0])
        names = (name for name, there in zip(self._parameters, first.has_gradient, strict=True) if there)
        words = [
            f"the loss is {float(first.numbers[0])}",
            *(f"the gradient of {name} is not finite" for name in names),
            *(f"{name} is not finite" for name in self._state),
        ]
        return NotFinite(words[place], first.step, first.rate, first.batch)
