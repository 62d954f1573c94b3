"""The Crammer-Singer dual and its residual of the optimality conditions."""

# Layout inside the solver: B problems, k classes, n points, class before point, (B, k, n).

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Rounding alpha to double moves its gradient by about 1e-16 |H| |alpha|, which no solver can go below. A
# scale of 4e-6 |H| |alpha| lets that pass a tolerance of 1e-9 with a margin for the sums over points.
ROUNDING = 4e-6


@dataclass(frozen=True)
class Problem:
    """Problems `min sum_m (1/2 a_m' H a_m - t_m' a_m)` with `a <= bound` and `sum_m a_m = 0`.

    Args:
        hessian: H, (B, n, n), symmetric positive definite, the same block for each class.
        targets: t, (B, k, n), one-hot over classes.
        bound: (B, k, n), C at the point's own class and 0 elsewhere.
    """

    hessian: Tensor
    targets: Tensor
    bound: Tensor

    def select(self, rows: Tensor) -> Problem:
        """Keep the problems `rows` (int64 indices)."""
        return Problem(self.hessian[rows], self.targets[rows], self.bound[rows])


@dataclass(frozen=True)
class Candidate:
    """A point with its multipliers.

    Args:
        alpha: (B, k, n).
        point_multiplier: (B, n), of `sum_m a_m = 0`.
        bound_multiplier: (B, k, n), of `a <= bound`.
    """

    alpha: Tensor
    point_multiplier: Tensor
    bound_multiplier: Tensor

    def select(self, rows: Tensor) -> Candidate:
        """Keep the problems `rows` (int64 indices)."""
        return Candidate(self.alpha[rows], self.point_multiplier[rows], self.bound_multiplier[rows])

    def merge(self, rows: Tensor, other: Candidate) -> Candidate:
        """Return a copy in which the problems `rows` are those of `other`."""
        return Candidate(
            self.alpha.index_copy(0, rows, other.alpha),
            self.point_multiplier.index_copy(0, rows, other.point_multiplier),
            self.bound_multiplier.index_copy(0, rows, other.bound_multiplier),
        )


def gradient_scale(problem: Problem, candidate: Candidate) -> Tensor:
    """The unit of a problem's gradient, (B,).

    The largest of 1 (the targets), `|H a|`, the point multipliers, and `4e-6 |H| |a|` (see `ROUNDING`).
    """
    product = candidate.alpha @ problem.hessian
    floor = ROUNDING * (candidate.alpha.abs() @ problem.hessian.abs())
    scale = torch.maximum(product.abs(), floor).amax((1, 2)).clamp_min(1.0)
    return torch.maximum(scale, candidate.point_multiplier.abs().amax(1))


def kkt_residual(problem: Problem, candidate: Candidate) -> Tensor:
    """The relative KKT residual of each problem, (B,): the largest of five errors, infinite where undefined.

    With multipliers l per point and s per bound, g = `gradient_scale` and `A = max |a|`:

    - stationarity: `max |H a - t + l + s| / g`
    - bounds: `max (a - bound)_+ / A`
    - sums: `max |sum_m a_m| / A`
    - sign of the multipliers: `max (-s)_+ / g`
    - complementarity: `max |s (bound - a)| / (g A)`

    The problem is strictly convex, so a point with residual 0 is its one solution.
    """
    alpha, bound_multiplier = candidate.alpha, candidate.bound_multiplier
    scale = gradient_scale(problem, candidate)
    size = alpha.abs().amax((1, 2))
    slack = problem.bound - alpha
    gradient = alpha @ problem.hessian - problem.targets + candidate.point_multiplier.unsqueeze(1)
    errors = torch.stack(
        (
            (gradient + bound_multiplier).abs().amax((1, 2)) / scale,
            (-slack).amax((1, 2)).clamp_min(0) / size,
            alpha.sum(1).abs().amax(1) / size,
            (-bound_multiplier).amax((1, 2)).clamp_min(0) / scale,
            (bound_multiplier * slack).abs().amax((1, 2)) / (scale * size),
        )
    )
    # max() propagates NaN, and a NaN must never look like a small residual.
    return torch.nan_to_num(errors.amax(0), nan=torch.inf, posinf=torch.inf)
