"""Gradient steps on the supports of an episode, and their normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.errors import UserError, positive, whole_number
from sla_bench.models.peers import learn2learn


class SupportBatchNorm2d(nn.BatchNorm2d):
    """Normalises a batch by mean and variance of its first `num_supports` rows, in training and at test.

    MetaBN in Bronskill et al. 2020 (arXiv 2003.03284): as in the published code of MAML an episode is
    normalised by itself, but there the queries of a test are normalised by each other. Running statistics
    are neither used nor updated.
    """

    num_supports: int

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """(B, C, H, W) -> (B, C, H, W)."""
        if len(input) == self.num_supports:
            return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)
        supports = input[: self.num_supports].to(torch.promote_types(input.dtype, torch.float32))
        variance, mean = torch.var_mean(supports, (0, 2, 3), correction=0)
        factor = (variance + self.eps).rsqrt()
        if self.weight is not None:
            factor = factor * self.weight
        shift = -mean * factor
        if self.bias is not None:
            shift = shift + self.bias
        return input * factor[:, None, None] + shift[:, None, None]


def normalize_by_supports(network: nn.Module) -> None:
    """Let each batch normalisation of a network, which keeps its weights, be one by the supports."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SupportBatchNorm2d


def set_num_supports(network: nn.Module, count: int) -> None:
    """Set the number of supports in the next batch; they come first."""
    for module in network.modules():
        if isinstance(module, SupportBatchNorm2d):
            module.num_supports = count


class InnerLoop:
    """The inner loop of MAML (Finn, Abbeel and Levine 2017, arXiv 1703.03400, algorithm 2).

    Args:
        owner: the learner, for messages.
        inner_steps: gradient steps in training, from 0.
        inner_rate: their rate, above 0.
        first_order: do not differentiate through the inner gradients (section 5.2 of the paper).
        test_inner_steps: steps at test, from 0; None means `inner_steps`.

    Raises:
        UserError: an option is out of range, or learn2learn is not installed.
    """

    def __init__(
        self,
        owner: str,
        inner_steps: int,
        inner_rate: float,
        first_order: bool,
        test_inner_steps: int | None,
    ) -> None:
        if not isinstance(first_order, bool):
            raise UserError(f"{owner}: first_order must be true or false, got {first_order!r}")
        self.training_steps = whole_number(owner, "inner_steps", inner_steps, 0)
        self.test_steps = (
            self.training_steps
            if test_inner_steps is None
            else whole_number(owner, "test_inner_steps", test_inner_steps, 0)
        )
        self.rate = positive(owner, "inner_rate", inner_rate)
        self.first_order = first_order
        learn2learn()

    def steps(self, training: bool) -> int:
        """How many."""
        return self.training_steps if training else self.test_steps

    def adapt(self, module: nn.Module, loss: Callable[[Any], Tensor], training: bool) -> Any:
        """Return a copy of the module after the steps.

        Where gradients are wanted, those of the copy's output reach the module's parameters and, unless
        `first_order`, go through the inner gradients; elsewhere no graph is kept from step to step.

        Args:
            module: is not changed.
            loss: of a copy, a scalar.
            training: which number of steps.
        """
        first_order = self.first_order or not torch.is_grad_enabled()
        with torch.enable_grad():
            learner = learn2learn().algorithms.MAML(module, lr=self.rate, first_order=first_order)
            copy = learner.clone()
            for _ in range(self.steps(training)):
                copy.adapt(loss(copy.module))
        return copy.module
