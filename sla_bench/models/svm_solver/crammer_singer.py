"""The multi-class SVM of Crammer & Singer: batched, exact, differentiable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sla_bench.errors import NotFiniteError, UserError
from sla_bench.models.svm_solver.active_set import Factors, active_set, guess_active, keep_one_free
from sla_bench.models.svm_solver.block_system import TINY, factorise, solve_refined
from sla_bench.models.svm_solver.interior_point import interior_point
from sla_bench.models.svm_solver.kkt import Candidate, Problem, kkt_residual

# Largest relative KKT residual of a solution.
TOLERANCE = 1e-9
# Numbers in the blocks of one chunk: more leave the second-level cache, and a step takes twice as long.
CHUNK = 400_000


class SolverError(UserError):
    """A support vector machine could not be solved to the required accuracy."""


@dataclass(frozen=True)
class Solution:
    """Solutions of E duals with n points and k classes.

    Args:
        alpha: (E, n, k), float64, differentiable with respect to the kernel and to the targets.
        residual: (E,), float64, relative KKT residual, at most 1e-9; `kkt_residual` defines it.
        fallback: bool (E,), the active-set method did not solve it and the interior point did.
    """

    alpha: Tensor
    residual: Tensor
    fallback: Tensor


def solve_crammer_singer(
    kernel: Tensor, one_hot: Tensor, *, C: float = 0.1, regularization: float = 1.0
) -> Solution:
    """Solve the dual of the Crammer-Singer SVM for a batch of problems.

        min_a  1/2 sum_m a_m' H a_m - sum_i a_(i, y_i),   H = K + regularization I
        s.t.   a_im <= C [m = y_i],   sum_m a_im = 0

    (Crammer & Singer 2001, as in MetaOptNet, Lee et al. 2019, equation 10.) The Hessian is the same n x n
    block for each class and the constraints separate by point, so nothing larger than n x n is formed.
    Method: ADMM guesses the active bounds, a primal-dual active-set method makes them exact; problems that
    it leaves with a residual above 1e-9 go to an interior point, each on its own, and from its active set
    once more through the active-set method. All in double precision.

    The gradient comes from implicit differentiation at the solution, with the active set held fixed: exact
    wherever the solution is differentiable, that is, where no bound is weakly active (equality with zero
    multiplier). A weakly active bound, multiplier at most 1e-9 of the gradient's scale, counts as
    free; so the result is a one-sided derivative, and the same for any order of points and classes.
    Second derivatives are not available. The gradient with respect to `one_hot` is that of the linear term
    in the objective; the bounds do not move.

    Args:
        kernel: (E, n, n), symmetric positive semidefinite, any floating type.
        one_hot: (E, n, k), exactly one 1 per point.
        C: upper bound of a point's own-class variable, above 0.
        regularization: added to the kernel's diagonal, above 0.

    Raises:
        NotFiniteError: the kernel has NaN or infinity.
        SolverError: a problem could not be solved to 1e-9.
    """
    if not bool(torch.isfinite(kernel.detach()).all()):
        raise NotFiniteError(
            "SVM: the kernel is not finite; support embeddings contain NaN or infinity, or overflow"
        )
    kernel, targets = kernel.double(), one_hot.double().transpose(1, 2).contiguous()
    ways, size = targets.shape[1:]
    if ways == 1:
        # The sums leave nothing but 0, and a relative residual of nothing is not defined.
        none = torch.zeros(len(kernel), dtype=torch.float64, device=kernel.device)
        return Solution(0.0 * targets.transpose(1, 2), none, none.bool())
    chunk = max(1, CHUNK // (ways * size * size))
    parts = [
        _Dual.apply(k, t, C, regularization)
        for k, t in zip(kernel.split(chunk), targets.split(chunk), strict=True)
    ]
    alpha, residual, fallback = (torch.cat(pieces) for pieces in zip(*parts, strict=True))
    _check_solved(kernel, residual, C, regularization)
    return Solution(alpha.transpose(1, 2), residual, fallback)


def _check_solved(kernel: Tensor, residual: Tensor, C: float, regularization: float) -> None:
    unsolved = ~(residual <= TOLERANCE)
    if bool(unsolved.any()):
        worst = int(residual.argmax())
        largest = float(kernel[worst].diagonal().max())
        raise SolverError(
            f"SVM: {int(unsolved.sum())} of {len(residual)} problems unsolved (worst: number {worst}, "
            f"relative KKT residual {float(residual[worst]):.1e}, allowed {TOLERANCE:.0e}; C {C:g}, "
            f"regularization {regularization:g}, largest kernel value {largest:.1e}): "
            "raise regularization or make the embeddings smaller"
        )


def _solve(problem: Problem, keep_factors: bool) -> tuple[Candidate, Tensor, Tensor, Factors]:
    """Candidate, residual (B,), fallback (B,) and, if asked for, factors of one chunk."""
    result = active_set(problem, guess_active(problem), keep_factors=keep_factors)
    candidate, factors = result.candidate, result.factors
    residual = kkt_residual(problem, candidate)
    solved = result.settled & (residual <= TOLERANCE)
    if not bool(solved.all()):
        rows = torch.nonzero(~solved).squeeze(1)
        recovered, recovered_residual, recovered_factors = recover(problem.select(rows), keep_factors)
        candidate = candidate.merge(rows, recovered)
        residual = residual.index_copy(0, rows, recovered_residual)
        factors = _of(factors, solved) + [(rows[part], factor) for part, factor in recovered_factors]
    return candidate, residual, ~solved, factors


def recover(problem: Problem, keep_factors: bool = False) -> tuple[Candidate, Tensor, Factors]:
    """Solve by interior point, then exactly on its active set; where that does not settle, keep the former.

    Returns:
        Candidate, relative KKT residual (B,), and the factors for the backward pass if asked for.
    """
    inner = interior_point(problem)
    stiffness = problem.hessian.diagonal(dim1=1, dim2=2).mean(1).view(-1, 1, 1)
    active = inner.bound_multiplier > stiffness * (problem.bound - inner.alpha)
    exact = active_set(problem, active, keep_factors=keep_factors)
    residual = kkt_residual(problem, inner)
    exact_residual = kkt_residual(problem, exact.candidate)
    better = exact.settled & ((exact_residual <= TOLERANCE) | (exact_residual < residual))
    rows = torch.nonzero(better).squeeze(1)
    candidate = inner.merge(rows, exact.candidate.select(rows))
    residual = torch.where(better, exact_residual, residual)
    factors = _of(exact.factors, better)
    others = torch.nonzero(~better).squeeze(1)
    if keep_factors and len(others):
        free = ~keep_one_free(active[others], problem.targets[others])
        factors = [*factors, (others, factorise(problem.hessian[others], free))]
    return candidate, residual, factors


def _of(factors: Factors, wanted: Tensor) -> Factors:
    """The factors of the problems in `wanted`, bool (B,)."""
    parts = []
    for rows, factor in factors:
        inside = torch.nonzero(wanted[rows]).squeeze(1)
        parts.append((rows[inside], factor.select(inside)))
    return [part for part in parts if len(part[0])]


class _Dual(torch.autograd.Function):
    """The map from kernel (B, n, n) and targets (B, k, n) to alpha (B, k, n)."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Tensor, targets: Tensor, C: float, regularization: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        differentiate = any(ctx.needs_input_grad)
        hessian = kernel.clone()
        hessian.diagonal(dim1=1, dim2=2).add_(regularization)
        problem = Problem(hessian, targets, C * targets)
        candidate, residual, fallback, factors = _solve(problem, keep_factors=differentiate)
        if differentiate:
            ctx.hessian, ctx.factors = hessian, factors
            ctx.save_for_backward(candidate.alpha)
        ctx.mark_non_differentiable(residual, fallback)
        return candidate.alpha, residual, fallback

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *unused: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        del unused
        (alpha,) = ctx.saved_tensors
        adjoint = torch.zeros_like(alpha)
        for rows, factor in ctx.factors:
            part = grad[rows]
            scale = part.abs().amax((1, 2)).clamp_min(TINY)
            moved, _ = solve_refined(ctx.hessian[rows], factor, part, torch.zeros_like(part[:, 0]), scale)
            adjoint.index_copy_(0, rows, moved)
        if not ctx.needs_input_grad[0]:
            return None, adjoint, None, None
        product = adjoint.transpose(1, 2) @ alpha
        return -0.5 * (product + product.transpose(1, 2)), adjoint, None, None
