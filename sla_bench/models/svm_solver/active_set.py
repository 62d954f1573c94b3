"""Warm start and primal-dual active-set method for the Crammer-Singer dual."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sla_bench.models.svm_solver.block_system import BlockFactor, factorise, solve_refined
from sla_bench.models.svm_solver.kkt import Candidate, Problem, gradient_scale

# Indices of problems and their factors, in parts.
Factors = list[tuple[Tensor, BlockFactor]]

# ADMM steps between two looks at the active set, and the share of bounds that may change between them.
CHECK_EVERY = 10
STABLE = 1e-3
# Relative violation below which a constraint keeps its side: a tenth of the KKT check's limit.
HYSTERESIS = 1e-10
# Relative multiplier below which an active constraint counts as weakly active.
WEAK = 1e-9


def guess_active(problem: Problem, *, max_steps: int = 200, relaxation: float = 1.6) -> Tensor:
    """Guess which bounds hold with equality, bool (B, k, n), by over-relaxed ADMM.

    ADMM (Boyd et al. 2011, section 3.4.3) splits the bounds from the sums: one step centres over classes,
    multiplies by one n x n inverse and clamps. The guess need not be right, it only saves active-set steps,
    each as dear as a hundred of these; so it runs in single precision and ends when hardly any bound
    changes sides. Where single precision breaks down, the guess is that no bound is active.
    """
    hessian = problem.hessian.float()
    targets, bound = problem.targets.float(), problem.bound.float()
    size = hessian.shape[-1]
    trace = hessian.diagonal(dim1=1, dim2=2).sum(1)
    # The direction of the common mean is by far the largest; the step suits the others.
    common = hessian.sum((1, 2)) / size
    step = ((trace - common).clamp_min(1e-3 * trace) / max(size - 1, 1)).view(-1, 1, 1)
    identity = torch.eye(size, dtype=hessian.dtype, device=hessian.device)
    lower, _ = torch.linalg.cholesky_ex(hessian + step * identity)
    inverse = torch.cholesky_inverse(lower)
    clamped = torch.zeros_like(targets)
    dual = torch.zeros_like(targets)
    active = torch.zeros_like(bound, dtype=torch.bool)
    for done in range(1, max_steps + 1):
        right = torch.addcmul(targets, clamped - dual, step)
        point = (right - right.mean(1, keepdim=True)) @ inverse
        before = torch.lerp(clamped, point, relaxation) + dual
        clamped = torch.minimum(before, bound)
        dual = before - clamped
        if done % CHECK_EVERY == 0:
            previous, active = active, before > bound
            if bool(((previous != active).float().mean((1, 2)) <= STABLE).all()):
                break
    return active


@dataclass(frozen=True)
class ActiveSetResult:
    """Where the active-set method ended.

    Args:
        candidate: the last point with its multipliers, feasible and optimal where `settled`.
        active: bool (B, k, n), the bounds that hold with equality.
        settled: bool (B,), the active set reproduced itself.
        factors: for the settled problems, if asked for, what the backward pass needs.
    """

    candidate: Candidate
    active: Tensor
    settled: Tensor
    factors: Factors


def active_set(
    problem: Problem, active: Tensor, *, keep_factors: bool = False, max_steps: int = 15
) -> ActiveSetResult:
    """Solve with the active bounds fixed, exchange those of the wrong sign, repeat.

    This is the primal-dual active-set method, that is, a semismooth Newton method (Hintermueller, Ito &
    Kunisch 2003): it ends after a few steps with an exact solution, or may cycle; then `settled` is false.
    Problems leave the batch as soon as they are settled.

    Args:
        problem: B problems.
        active: bool (B, k, n), the first guess.
        keep_factors: return the factors that the gradient needs.
        max_steps: linear systems per problem.
    """
    rows = torch.arange(len(active), device=active.device)
    solution = Candidate(
        torch.zeros_like(problem.targets), torch.zeros_like(problem.targets[:, 0]), problem.targets
    )
    final = torch.zeros_like(active)
    settled = torch.zeros_like(rows, dtype=torch.bool)
    factors: Factors = []
    rest = problem
    for _ in range(max_steps):
        active = keep_one_free(active, rest.targets)
        factor = factorise(rest.hessian, ~active)
        candidate, multiplier = _solve_equalities(rest, active, factor)
        scale = gradient_scale(rest, candidate).view(-1, 1, 1)
        size = candidate.alpha.abs().amax((1, 2), keepdim=True)
        stays_active = multiplier > -HYSTERESIS * scale
        becomes_active = candidate.alpha - rest.bound > HYSTERESIS * size
        following = torch.where(active, stays_active, becomes_active)
        done = (following == active).all(2).all(1) & factor.ok
        solution = solution.merge(rows, candidate)
        final.index_copy_(0, rows, active)
        settled.index_copy_(0, rows, done)
        if keep_factors and bool(done.any()):
            weak = active & (multiplier <= WEAK * scale)
            factors.append(_backward_factor(rows, done, factor, rest, weak))
        keep = torch.nonzero(~done & factor.ok).squeeze(1)
        if not len(keep):
            break
        if len(keep) < len(rows):
            rest = rest.select(keep)
        rows, active = rows[keep], following[keep]
    return ActiveSetResult(solution, final, settled, factors)


def keep_one_free(active: Tensor, targets: Tensor) -> Tensor:
    """Free the own class of a point where every class is active: its sum could not be 0.

    Args:
        active: bool (B, k, n), which bounds are active, [problem, class, point].
        targets: (B, k, n), above 0 for the own class of a point only.
    """
    return active & ~(active.all(1, keepdim=True) & (targets > 0))


def _solve_equalities(problem: Problem, active: Tensor, factor: BlockFactor) -> tuple[Candidate, Tensor]:
    """The minimiser with the active bounds as equations, and the signed multipliers of all bounds."""
    fixed = problem.bound * active
    right = problem.targets - fixed @ problem.hessian
    # Errors of the gradient count against the targets, which are 1.
    scale = torch.ones_like(right[:, 0, 0])
    moved, point_multiplier = solve_refined(problem.hessian, factor, right, -fixed.sum(1), scale)
    multiplier = right - moved @ problem.hessian - point_multiplier.unsqueeze(1)
    candidate = Candidate(fixed + moved, point_multiplier, multiplier.clamp_min(0) * active)
    return candidate, multiplier


def _backward_factor(
    rows: Tensor, done: Tensor, factor: BlockFactor, problem: Problem, weak: Tensor
) -> tuple[Tensor, BlockFactor]:
    chosen = torch.nonzero(done).squeeze(1)
    if bool((weak & done.view(-1, 1, 1)).any()):
        return rows[chosen], factorise(problem.hessian[chosen], (factor.free | weak)[chosen])
    return rows[chosen], factor if len(chosen) == len(rows) else factor.select(chosen)
