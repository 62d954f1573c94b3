"""Ridge regression on one-hot targets, in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sla_bench.errors import NotFiniteError, UserError, positive
from sla_bench.models.heads.base import FewShotHead
from sla_bench.models.svm_solver.linear_dual import dual_weights

# Largest relative residual of the linear system; well-posed systems in double reach 1e-12.
TOLERANCE = 1e-7


class RidgeHead(FewShotHead):
    """MetaOptNet-RR: logits `2 K(q, s) (K + regularization I)^-1 Y` times the learnable scale.

    K is the linear kernel and Y the one-hot labels. This is the dual of ridge regression with MetaOptNet's
    factor 2 (Lee et al. 2019, section 3.2), so twice the head of R2-D2 (Bertinetto et al. 2019). The system
    is solved in double precision by Cholesky factors of the n x n kernel or, with fewer features than
    points, of the D x D covariance.

    Args:
        regularization: lambda, added to the diagonal; above 0. It is not rescaled with the number of ways.
        scale: see `FewShotHead`.

    Attributes:
        last_residual: largest relative residual of the latest call, None before the first; not part of the
            state.
    """

    def __init__(self, *, regularization: float = 50.0, scale: float = 1.0) -> None:
        super().__init__(scale=scale)
        self.regularization = positive("RidgeHead", "regularization", regularization)
        self.last_residual: float | None = None

    def scores(self, support: Tensor, one_hot: Tensor, query: Tensor) -> Tensor:
        """Ridge regression of the one-hot labels, before the scale, (E, Q, ways)."""
        targets = one_hot.double()
        if support.shape[1] <= support.shape[2]:
            weights = dual_weights(support, 2 * targets, self._solve)
        else:
            features = support.double().transpose(1, 2)
            primal = self._solve(features @ features.transpose(1, 2), features @ targets)
            weights = (2 * primal).to(query.dtype).transpose(1, 2)
        return query @ weights.transpose(1, 2)

    def _solve(self, gram: Tensor, right: Tensor) -> Tensor:
        identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        solved: tuple[Tensor, float] = _SymmetricSolve.apply(gram + self.regularization * identity, right)
        solution, self.last_residual = solved
        return solution


class _SymmetricSolve(torch.autograd.Function):
    """Solve `matrix x = right` for symmetric positive definite matrices; the backward reuses the factor."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, right: Tensor) -> tuple[Tensor, float]:
        lower, failed = torch.linalg.cholesky_ex(matrix)
        solution = torch.cholesky_solve(right, lower)
        residual = _check_solved(matrix, right, solution, failed)
        ctx.save_for_backward(lower, solution)
        return solution, residual

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *unused: Any) -> tuple[Tensor, Tensor]:
        del unused
        lower, solution = ctx.saved_tensors
        grad_right = torch.cholesky_solve(grad, lower)
        return -grad_right @ solution.transpose(1, 2), grad_right


def _check_solved(matrix: Tensor, right: Tensor, solution: Tensor, failed: Tensor) -> float:
    """Refuse a solution that does not satisfy its system; return the largest residual.

    The residual is relative to the right-hand side, per episode. The normwise backward error would not do:
    it is small whenever Cholesky ends, also where all digits of the solution are lost.

    Raises:
        NotFiniteError: the system holds NaN or infinity.
        UserError: the residual is above TOLERANCE.
    """
    if not bool(torch.isfinite(matrix).all()):
        raise NotFiniteError(
            "RidgeHead: the kernel is not finite; support embeddings contain NaN or infinity, or overflow"
        )
    error = (matrix @ solution - right).abs().amax((1, 2)) / right.abs().amax((1, 2)).clamp_min(1e-300)
    bad = (failed != 0) | ~(error <= TOLERANCE)
    if bool(bad.any()):
        episode = int(torch.nonzero(bad)[0])
        largest = float(matrix[episode].diagonal().max())
        raise UserError(
            f"RidgeHead: the system of episode {episode} is ill-conditioned (relative residual "
            f"{float(error[episode]):.1e}, allowed {TOLERANCE:.0e}, largest diagonal element {largest:.1e}): "
            "raise regularization or make the embeddings smaller"
        )
    return float(error.max())
