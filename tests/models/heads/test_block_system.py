from __future__ import annotations

import dataclasses

import pytest
import torch

from sla_bench.models.svm_solver import block_system
from sla_bench.models.svm_solver.block_system import CorrectedInverse, FreeBlocks, factorise, solve_refined

BATCH, WAYS, SIZE = 3, 4, 12


def hessians(condition=100.0, seed=0):
    """Random rotations of diagonals from 1 to `condition`."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(BATCH, SIZE, SIZE, generator=generator, dtype=torch.float64)).Q
    values = torch.logspace(0, torch.tensor(condition).log10().item(), SIZE, dtype=torch.float64)
    return (basis * values) @ basis.mT


def free_but(fixed, seed=0):
    """Up to `fixed` points of each class are not free, and at least one class is free at each point."""
    order = torch.rand(BATCH, WAYS, SIZE, generator=torch.Generator().manual_seed(seed)).argsort(2)
    counts = (torch.arange(WAYS) * fixed / (WAYS - 1)).round().long()
    free = order >= counts[:, None]
    free[:, 0] = True
    return free


def dense_solution(hessian, free, right, total, shift=None):
    """x and multiplier of one problem from the whole system, k n + n equations."""
    blocks = torch.block_diag(*[hessian] * WAYS)
    if shift is not None:
        blocks = blocks + torch.diag(shift.flatten())
    sums = torch.eye(SIZE, dtype=torch.float64).repeat(1, WAYS)
    corner = torch.zeros(SIZE, SIZE, dtype=torch.float64)
    system = torch.cat([torch.cat([blocks, sums.T], 1), torch.cat([sums, corner], 1)])
    used = torch.cat([free.flatten(), torch.ones(SIZE, dtype=torch.bool)])
    solution = torch.zeros(len(used), dtype=torch.float64)
    solution[used] = torch.linalg.solve(system[used][:, used], torch.cat([right.flatten(), total])[used])
    return solution[: WAYS * SIZE].view(WAYS, SIZE), solution[WAYS * SIZE :]


def right_sides(seed=1):
    generator = torch.Generator().manual_seed(seed)
    right = torch.randn(BATCH, WAYS, SIZE, generator=generator, dtype=torch.float64)
    return right, torch.randn(BATCH, SIZE, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("fixed", "kind"), [(0, CorrectedInverse), (1, CorrectedInverse), (3, CorrectedInverse), (9, FreeBlocks)]
)
def test_both_kinds_of_factor_solve_the_whole_system(fixed, kind):
    hessian, free, (right, total) = hessians(), free_but(fixed), right_sides()
    factor = factorise(hessian, free)
    assert type(factor) is kind
    assert factor.ok.all()
    x, multiplier = factor.solve(right, total)
    for i in range(BATCH):
        expected = dense_solution(hessian[i], free[i], right[i], total[i])
        torch.testing.assert_close(x[i], expected[0], rtol=0, atol=1e-11)
        torch.testing.assert_close(multiplier[i], expected[1], rtol=0, atol=1e-9)
    assert (x[~free] == 0).all()


def test_a_shift_is_part_of_the_system():
    hessian, free, (right, total) = hessians(), free_but(1), right_sides()
    shift = torch.rand(BATCH, WAYS, SIZE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x, _ = factorise(hessian, free, shift).solve(right, total)
    for i in range(BATCH):
        expected, _ = dense_solution(hessian[i], free[i], right[i], total[i], shift[i])
        torch.testing.assert_close(x[i], expected, rtol=0, atol=1e-11)


def test_an_inverse_is_not_corrected_where_that_would_lose_too_many_digits():
    assert type(factorise(hessians(condition=1e9), free_but(1))) is FreeBlocks


def test_refinement_makes_up_for_a_rough_factor():
    hessian, free, (right, total) = hessians(), free_but(2), right_sides()
    factor = factorise(hessian, free)
    rough = dataclasses.replace(factor, inverse=factor.inverse * (1 + 1e-5))
    scale = torch.ones(BATCH, dtype=torch.float64)
    x, _ = solve_refined(hessian, rough, right, total, scale)
    expected, _ = solve_refined(hessian, factor, right, total, scale)
    assert float((rough.solve(right, total)[0] - expected).abs().max()) > 1e-7
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_chosen_problems_keep_their_factors(share, monkeypatch):
    monkeypatch.setattr(block_system, "FEW", share)
    factor, (right, total) = factorise(hessians(), free_but(2)), right_sides()
    rows = torch.tensor([2, 0])
    x, multiplier = factor.select(rows).solve(right[rows], total[rows])
    every_x, every_multiplier = factor.solve(right, total)
    torch.testing.assert_close(x, every_x[rows])
    torch.testing.assert_close(multiplier, every_multiplier[rows])


def test_an_indefinite_hessian_is_reported_for_its_problem_only():
    hessian = hessians()
    hessian[1] -= 50 * torch.eye(SIZE, dtype=torch.float64)
    assert factorise(hessian, free_but(1)).ok.tolist() == [True, False, True]
