"""Predictor-corrector interior point for the Crammer-Singer dual: slow, and hard to break."""

from __future__ import annotations

import torch
from torch import Tensor

from sla_bench.models.svm_solver.block_system import factorise
from sla_bench.models.svm_solver.kkt import Candidate, Problem, kkt_residual

# Share of the way to the boundary that one step may go.
TO_BOUNDARY = 0.995


def interior_point(problem: Problem, *, tolerance: float = 1e-12, max_steps: int = 80) -> Candidate:
    """Solve all problems from scratch by Mehrotra's method (Nocedal & Wright 2006, algorithm 16.4).

    Each step factors one n x n matrix per class. Equations are corrected in each step by their residual, so
    rounding errors do not add up. The result of a problem is the best point on its path.

    Args:
        problem: B problems.
        tolerance: relative KKT residual (see `kkt_residual`) at which a problem is left alone.
        max_steps: steps at most.
    """
    ways = problem.targets.shape[1]
    # Strictly feasible start: every class of a point has the same slack.
    slack = (problem.bound.sum(1, keepdim=True) / ways).expand_as(problem.bound).clone()
    alpha = problem.bound - slack
    gradient = problem.targets - alpha @ problem.hessian
    point_multiplier = gradient.amin(1) - 1.0
    multiplier = gradient - point_multiplier.unsqueeze(1)
    everything = torch.ones_like(alpha, dtype=torch.bool)
    best = Candidate(alpha, point_multiplier, multiplier)
    best_residual = kkt_residual(problem, best)
    for _ in range(max_steps):
        weight = multiplier / slack
        factor = factorise(problem.hessian, everything, shift=weight)
        gradient = problem.targets - alpha @ problem.hessian - point_multiplier.unsqueeze(1) - multiplier
        missing = -alpha.sum(1)
        gap = (multiplier * slack).mean((1, 2), keepdim=True)

        # Newton on slack * multiplier = aim, with d slack = -d alpha.
        step, _ = factor.solve(gradient + multiplier, missing)
        multiplier_step = weight * step - multiplier
        reached = (slack - _longest(slack, -step) * step) * (
            multiplier + _longest(multiplier, multiplier_step) * multiplier_step
        )
        centring = (reached.mean((1, 2), keepdim=True) / gap) ** 3
        change = (centring * gap + step * multiplier_step) / slack - multiplier
        step, point_step = factor.solve(gradient - change, missing)
        multiplier_step = weight * step + change

        length = torch.minimum(_longest(slack, -step), _longest(multiplier, multiplier_step))
        length = (TO_BOUNDARY * length).clamp(max=1.0)
        alpha = alpha + length * step
        slack = slack - length * step
        multiplier = multiplier + length * multiplier_step
        point_multiplier = point_multiplier + length.squeeze(2) * point_step

        candidate = Candidate(alpha, point_multiplier, multiplier)
        residual = kkt_residual(problem, candidate)
        better = torch.nonzero(residual < best_residual).squeeze(1)
        best = best.merge(better, candidate.select(better))
        best_residual = torch.minimum(best_residual, residual)
        if bool(((best_residual <= tolerance) | ~torch.isfinite(residual)).all()):
            break
    return best


def _longest(value: Tensor, step: Tensor) -> Tensor:
    """The largest factor up to 1 / `TO_BOUNDARY` with `value + factor * step >= 0`, (B, 1, 1)."""
    ratio = torch.where(step < 0, -value / step, torch.inf)
    return ratio.amin((1, 2), keepdim=True).clamp(max=1 / TO_BOUNDARY)
