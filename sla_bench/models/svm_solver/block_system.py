"""The linear system in every step of the Crammer-Singer solver."""

# Shapes: B problems, k classes, n support points, p the largest number of free points of one class.

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

import torch
from torch import Tensor

# Largest share of the points of a class that may be fixed for one inverse to serve all classes.
FEW = 0.25
# Largest product of the largest diagonal entries of the Hessian and its inverse for that. Correcting an
# inverse loses twice the digits that inverting loses, which refinement has to give back.
WELL_CONDITIONED = 1e4
# Relative error at which refinement stops.
REFINED = 1e-13
# The smallest normal number in double precision.
TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class BlockFactor(ABC):
    """Factors of one block system for B problems, made by `factorise`.

    Args:
        free: bool (B, k, n), the variables that the system is about.
        schur: (B, n, n), Cholesky factor of the sum over classes of the inverses, spread over all points.
        ok: bool (B,), every Cholesky factor exists.
    """

    free: Tensor
    schur: Tensor
    ok: Tensor

    def select(self, rows: Tensor) -> BlockFactor:
        """Keep the problems `rows` (int64 indices)."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    @abstractmethod
    def apply_inverse(self, right: Tensor) -> Tensor:
        """Multiply each class's inverse with its free part of `right` (B, k, n); zero where not free."""

    def solve(self, right: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Solve for x (B, k, n), zero where not free, and the multiplier (B, n).

        On the free variables `H x_m + multiplier = right_m`, and `sum_m x_m = total`.
        """
        x = self.apply_inverse(right)
        multiplier = torch.cholesky_solve((x.sum(1) - total).unsqueeze(-1), self.schur).squeeze(-1)
        return x - self.apply_inverse(multiplier.unsqueeze(1).expand_as(right)), multiplier


@dataclass(frozen=True)
class FreeBlocks(BlockFactor):
    """An inverse for each class, of its free points only.

    Args:
        inverse: (B, k, p, p), inverse of the Hessian on the free points of each class, zero where padded.
        points: int64 (B, k, p), which point each of those rows is.
    """

    inverse: Tensor
    points: Tensor

    def apply_inverse(self, right: Tensor) -> Tensor:
        """Multiply each class's inverse with the free part of `right` (B, k, n)."""
        part = self.inverse @ right.gather(2, self.points).unsqueeze(-1)
        return torch.zeros_like(right).scatter_add_(2, self.points, part.squeeze(-1))


@dataclass(frozen=True)
class CorrectedInverse(BlockFactor):
    """One inverse for all classes, corrected in each class for the few points that are not free.

    Args:
        inverse: (B, n, n), of the whole Hessian.
        correction: (B, k, q, n), q the largest number of points that are not free in a class; the inverse
            of a class is `inverse - correction' correction`.
    """

    inverse: Tensor
    correction: Tensor

    def apply_inverse(self, right: Tensor) -> Tensor:
        """Multiply each class's inverse with the free part of `right` (B, k, n)."""
        right = right * self.free
        along = self.correction @ right.unsqueeze(-1)
        corrected = right @ self.inverse - (self.correction.mT @ along).squeeze(-1)
        return corrected * self.free


def factorise(hessian: Tensor, free: Tensor, shift: Tensor | None = None) -> BlockFactor:
    """Factor `[H_m + diag(shift_m), 1; 1', 0]` restricted to the free variables.

    All classes share the Hessian block, and the constraints `sum_m x_m = total` couple classes point by
    point. Eliminating the classes first leaves one n x n matrix, the sum of the inverse blocks, so nothing
    larger than n x n is factored. Where nearly all points are free and the Hessian is well conditioned,
    it is inverted once for all classes; otherwise each class's free points are.

    Args:
        hessian: (B, n, n), symmetric positive definite.
        free: bool (B, k, n); each point is free in at least one class.
        shift: (B, k, n), non-negative, added to the diagonal; none means 0.
    """
    if shift is None:
        fixed = free.shape[2] - int(free.sum(2).min())
        if fixed <= FEW * free.shape[2]:
            factor = _correct_inverse(hessian, free, fixed)
            if factor is not None:
                return factor
    return _invert_free_blocks(hessian, free, shift)


def _correct_inverse(hessian: Tensor, free: Tensor, fixed: int) -> CorrectedInverse | None:
    """Factors from one inverse; None where they would not be accurate. `fixed`: most in a class."""
    ways = free.shape[1]
    lower, failed = torch.linalg.cholesky_ex(hessian)
    inverse = torch.cholesky_inverse(lower)
    largest = hessian.diagonal(dim1=1, dim2=2).amax(1) * inverse.diagonal(dim1=1, dim2=2).amax(1)
    if not bool(((failed == 0) & (largest <= WELL_CONDITIONED)).all()):
        return None
    used, points = free.logical_not().to(hessian.dtype).topk(fixed, dim=2)
    size = hessian.shape[1]
    spread = inverse.unsqueeze(1).expand(-1, ways, -1, -1)
    rows = spread.gather(2, points.unsqueeze(3).expand(-1, -1, -1, size)) * used.unsqueeze(3)
    corner = rows.gather(3, points.unsqueeze(2).expand(-1, -1, fixed, -1)) * used.unsqueeze(2)
    corner.diagonal(dim1=2, dim2=3).add_(1 - used)
    corner_lower, failed_corner = torch.linalg.cholesky_ex(corner)
    correction = torch.linalg.solve_triangular(corner_lower, rows, upper=False)
    stacked = correction.flatten(1, 2)
    schur, failed_schur = torch.linalg.cholesky_ex(ways * inverse - stacked.mT @ stacked)
    ok = (failed_corner == 0).all(1) & (failed_schur == 0)
    return CorrectedInverse(free, schur, ok, inverse, correction) if bool(ok.all()) else None


def _invert_free_blocks(hessian: Tensor, free: Tensor, shift: Tensor | None) -> FreeBlocks:
    batch, ways, size = free.shape
    width = int(free.sum(2).max())
    # Where a class has all points free there is nothing to gather, and copying whole blocks is faster.
    full = width == size
    if full:
        points = torch.arange(size, device=free.device).expand(batch, ways, size)
        used = free
        block = hessian.unsqueeze(1).expand(batch, ways, size, size).clone()
    else:
        points = torch.argsort(free.logical_not().to(torch.uint8), dim=2, stable=True)[:, :, :width]
        used = free.gather(2, points)
        pairs = (points.unsqueeze(3) * size + points.unsqueeze(2)).reshape(batch, -1)
        block = hessian.reshape(batch, -1).gather(1, pairs).view(batch, ways, width, width)
    mask = used.to(hessian.dtype)
    block.mul_(mask.unsqueeze(3)).mul_(mask.unsqueeze(2))
    diagonal = block.diagonal(dim1=2, dim2=3)
    diagonal += 1 - mask
    if shift is not None:
        diagonal += shift.gather(2, points) * mask
    # LAPACK wants columns, and the transpose of a symmetric matrix is there already.
    lower, failed = torch.linalg.cholesky_ex(block.mT)
    if bool(failed.any()):
        # `ok` reports it; an inverse of what is left would raise for the whole batch.
        broken = (failed != 0).view(batch, ways, 1, 1)
        lower = torch.where(broken, torch.eye(width, dtype=lower.dtype, device=lower.device), lower)
    inverse = torch.cholesky_inverse(lower)
    inverse.diagonal(dim1=2, dim2=3).sub_(1 - mask)
    if full:
        total = inverse.sum(1)
    else:
        total = hessian.new_zeros(batch, size * size).scatter_add_(1, pairs, inverse.reshape(batch, -1))
    schur, failed_schur = torch.linalg.cholesky_ex(total.view(batch, size, size))
    ok = (failed == 0).all(1) & (failed_schur == 0)
    return FreeBlocks(free, schur, ok, inverse, points)


def solve_refined(
    hessian: Tensor, factor: BlockFactor, right: Tensor, total: Tensor, scale: Tensor, max_rounds: int = 6
) -> tuple[Tensor, Tensor]:
    """`BlockFactor.solve` followed by iterative refinement, so that explicit inverses cost no digits.

    Args:
        hessian: (B, n, n).
        factor: of `factorise` without shift.
        right: (B, k, n); only its free part counts.
        total: (B, n).
        scale: (B,), the unit of the errors.
        max_rounds: solves at most; it stops earlier where the error is at 1e-13 or halves no more.

    Returns:
        x (B, k, n), zero where not free, and the multiplier (B, n).
    """
    x, multiplier = factor.solve(right * factor.free, total)
    before = torch.full_like(scale, torch.inf)
    for _ in range(max_rounds - 1):
        error = (right - x @ hessian - multiplier.unsqueeze(1)) * factor.free
        missing = total - x.sum(1)
        size = torch.maximum(
            error.abs().amax((1, 2)) / scale,
            missing.abs().amax(1) / x.abs().amax((1, 2)).clamp_min(TINY),
        )
        going_on = (size > REFINED) & (size < before / 2)
        if not bool(going_on.any()):
            break
        step, multiplier_step = factor.solve(error, missing)
        # A problem that has come to rest must not depend on the others in its batch.
        x = torch.where(going_on.view(-1, 1, 1), x + step, x)
        multiplier = torch.where(going_on.view(-1, 1), multiplier + multiplier_step, multiplier)
        before = size
    return x, multiplier
