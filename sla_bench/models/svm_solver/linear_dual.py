"""Support points to weights of a linear classifier, fitted in its dual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Numbers converted to double at once: as many as fit into the second-level cache.
SLAB = 250_000

Dual = Callable[[Tensor, Tensor], Tensor]


def dual_weights(points: Tensor, targets: Tensor, dual: Dual) -> Tensor:
    """Weights `alpha' points` with `alpha = dual(points points', targets)`, computed in double precision.

    Nearly equal points cancel in the kernel and in the weights, so both are computed in double, but a few
    episodes at a time: the embeddings never exist in double as a whole.

    A dual problem knows its kernel K only as K alpha, which stands beside the targets T in its conditions
    for optimality. So a change of K acts like the change -dK alpha of T, and the gradient A with respect
    to T is all that the gradient with respect to the points takes; no matrix of S x S is formed for it.

    Args:
        points: (E, S, D), floating.
        targets: float64 (E, S, k), the linear term of the dual problem.
        dual: map from kernels (E, S, S) and targets to the variables (E, S, k) that solve, with fixed
            constraints, `min 1/2 tr(alpha' K alpha) - tr(alpha' T) + r(alpha)` for some r; float64,
            differentiable with respect to the targets.

    Returns:
        (E, k, D) in the type of `points`; differentiable once.
    """
    result: Tensor = _DualWeights.apply(points, targets, dual)
    return result


class _DualWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, targets: Tensor, dual: Dual) -> Tensor:
        episodes, size, features = points.shape
        kernel = points.new_empty(episodes, size, size, dtype=torch.float64)
        for rows, slab in _doubles(points):
            torch.bmm(slab, slab.transpose(1, 2), out=kernel[rows])
        differentiate = ctx.needs_input_grad[0]
        with torch.set_grad_enabled(differentiate):
            targets = targets.detach().requires_grad_(differentiate)
            alpha = dual(kernel, targets)
        dual_variables = alpha.detach().transpose(1, 2)
        weights = points.new_empty(episodes, alpha.shape[2], features)
        for rows, slab in _doubles(points):
            weights[rows] = dual_variables[rows] @ slab
        if differentiate:
            ctx.targets, ctx.alpha = targets, alpha
            ctx.save_for_backward(points, weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        points, weights = ctx.saved_tensors
        # It comes as the transpose of a product, a layout for which the products below are slow.
        grad = grad.contiguous()
        grad_alpha = torch.empty_like(ctx.alpha)
        for rows, slab in _doubles(points):
            grad_alpha[rows] = slab @ grad[rows].double().transpose(1, 2)
        (adjoint,) = torch.autograd.grad(ctx.alpha, ctx.targets, grad_alpha, retain_graph=True)
        # Rounding here is like rounding the points; nothing amplifies it, so their type will do.
        alpha, adjoint = ctx.alpha.detach().to(points.dtype), adjoint.to(points.dtype)
        with torch.autocast(points.device.type, enabled=False):
            # alpha grad - (adjoint alpha' + alpha adjoint') points, in one product.
            rest = grad - adjoint.transpose(1, 2) @ points
            result = torch.cat([alpha, -adjoint], dim=2) @ torch.cat([rest, weights], dim=1)
        return result, None, None


def _doubles(points: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Slices of episodes with their points in double, in one buffer that each step overwrites."""
    count = max(1, SLAB // (points.shape[1] * points.shape[2]))
    buffer = None if points.dtype == torch.float64 else torch.empty_like(points[:count], dtype=torch.float64)
    for start in range(0, len(points), count):
        rows = slice(start, start + count)
        part = points[rows]
        yield rows, part if buffer is None else buffer[: len(part)].copy_(part)
