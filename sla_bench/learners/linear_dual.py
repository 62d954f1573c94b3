"""From support points to the weights of a linear classifier that is fitted in its dual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Numbers converted to double at once: what fits into the second-level cache.
SLAB = 250_000

Dual = Callable[[Tensor], Tensor]


def dual_weights(points: Tensor, dual: Dual) -> Tensor:
    """Weights `alpha' points` with `alpha = dual(points points')`, computed in double precision.

    Nearly equal points cancel in the kernel and in the weights, so both are computed in double, but a few
    episodes at a time: the embeddings never exist in double as a whole.

    Args:
        points: (E, S, D), floating.
        dual: differentiable map from kernels (E, S, S) to dual variables (E, S, k), both float64.

    Returns:
        (E, k, D) in the type of `points`; differentiable once.
    """
    result: Tensor = _DualWeights.apply(points, dual)
    return result


class _DualWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, dual: Dual) -> Tensor:
        episodes, size, features = points.shape
        kernel = points.new_empty(episodes, size, size, dtype=torch.float64)
        for rows, slab in _doubles(points):
            torch.bmm(slab, slab.transpose(1, 2), out=kernel[rows])
        differentiate = ctx.needs_input_grad[0]
        with torch.set_grad_enabled(differentiate):
            alpha = dual(kernel.requires_grad_(differentiate))
        if differentiate:
            ctx.kernel, ctx.alpha = kernel, alpha
            ctx.save_for_backward(points)
        dual_variables = alpha.detach().transpose(1, 2)
        weights = points.new_empty(episodes, alpha.shape[2], features)
        for rows, slab in _doubles(points):
            weights[rows] = dual_variables[rows] @ slab
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (points,) = ctx.saved_tensors
        # It comes as the transpose of a product, a layout for which the products below are slow.
        grad = grad.contiguous()
        grad_alpha = torch.empty_like(ctx.alpha)
        for rows, slab in _doubles(points):
            grad_alpha[rows] = slab @ grad[rows].double().transpose(1, 2)
        (grad_kernel,) = torch.autograd.grad(ctx.alpha, ctx.kernel, grad_alpha, retain_graph=True)
        # Rounding here is like rounding the points; nothing amplifies it, so their type will do.
        grad_kernel = (grad_kernel + grad_kernel.transpose(1, 2)).to(points.dtype)
        with torch.autocast(points.device.type, enabled=False):
            result = grad_kernel @ points
            return result.baddbmm_(ctx.alpha.detach().to(points.dtype), grad), None


def _doubles(points: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Slices of episodes with their points in double, in one buffer that each step overwrites."""
    count = max(1, SLAB // (points.shape[1] * points.shape[2]))
    buffer = None if points.dtype == torch.float64 else torch.empty_like(points[:count], dtype=torch.float64)
    for start in range(0, len(points), count):
        rows = slice(start, start + count)
        part = points[rows]
        yield rows, part if buffer is None else buffer[: len(part)].copy_(part)
