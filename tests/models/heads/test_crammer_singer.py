from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sla_bench.errors import NotFiniteError
from sla_bench.models.svm_solver import active_set as active_set_module
from sla_bench.models.svm_solver import crammer_singer
from sla_bench.models.svm_solver.crammer_singer import SolverError, recover, solve_crammer_singer
from sla_bench.models.svm_solver.kkt import Problem, kkt_residual


def one_hot(labels, ways):
    return torch.nn.functional.one_hot(labels, ways).double()


def problem(kernel, targets, C=0.1, regularization=1.0):
    hessian = kernel + regularization * torch.eye(kernel.shape[1], dtype=kernel.dtype)
    return Problem(hessian, targets.mT.contiguous(), C * targets.mT)


def kkt_errors(kernel, targets, alpha, C, regularization=1.0):
    """KKT errors in numpy from alpha alone, (stationarity, bounds, sums), each relative.

    A point's multiplier is whatever its free variables have in common; bounds need a non-negative one.
    """
    kernel, targets, alpha = (part.detach().numpy() for part in (kernel, targets, alpha))
    hessian = kernel + regularization * np.eye(kernel.shape[1])
    gradient = targets - hessian @ alpha
    size = np.abs(alpha).max((1, 2), keepdims=True)
    slack = C * targets - alpha
    free = slack > 1e-9 * size
    multiplier = np.where(free, gradient, 0).sum(2, keepdims=True) / free.sum(2, keepdims=True)
    reduced = gradient - multiplier
    stationarity = np.where(free, np.abs(reduced), np.maximum(-reduced, 0))
    # The product of rounded numbers is not known better than this; it matters for huge kernels only.
    rounding = 4e-15 * (np.abs(hessian) @ np.abs(alpha)).max((1, 2), keepdims=True)
    scale = np.maximum(
        1, np.maximum(np.abs(hessian @ alpha).max((1, 2), keepdims=True), np.abs(multiplier).max())
    )
    return (
        (np.maximum(stationarity - rounding, 0) / scale).max(),
        (np.maximum(-slack, 0) / size).max(),
        (np.abs(alpha.sum(2, keepdims=True)) / size).max(),
    )


@pytest.mark.parametrize("setting", ["5w1s", "5w5s", "5w15s", "20w1s", "20w5s"])
def test_alpha_and_objective_are_golden(setting, golden):
    support = golden[f"{setting}_support"].double()
    targets = one_hot(golden[f"{setting}_labels"], int(setting.split("w")[0]))
    kernel = support @ support.mT
    alpha = solve_crammer_singer(kernel, targets).alpha
    golden_alpha = golden[f"{setting}_cs_exact_alpha"]

    def objective(a):
        return (0.5 * a * (kernel @ a + a)).sum((1, 2)) - (targets * a).sum((1, 2))

    # The golden kernel was computed in single precision, which moves both in the ninth digit.
    torch.testing.assert_close(alpha, golden_alpha, rtol=0, atol=2e-8)
    torch.testing.assert_close(objective(alpha), golden[f"{setting}_cs_exact_objective"], rtol=0, atol=1e-8)
    assert float((objective(alpha) - objective(golden_alpha)).max()) < 1e-15


def test_a_general_purpose_optimiser_finds_the_same(make_episodes):
    support, labels, _ = make_episodes(episodes=1, ways=3, shots=2, features=4)
    targets = one_hot(labels, 3)
    kernel = support @ support.mT
    H, Y = kernel[0].numpy() + 2 * np.eye(6), targets[0].numpy()
    found = minimize(
        lambda a: (0.5 * a.reshape(6, 3) * (H @ a.reshape(6, 3)) - Y * a.reshape(6, 3)).sum(),
        np.zeros(18),
        jac=lambda a: (H @ a.reshape(6, 3) - Y).ravel(),
        method="SLSQP",
        bounds=[(None, 0.3 * y) for y in Y.ravel()],
        constraints={
            "type": "eq",
            "fun": lambda a: a.reshape(6, 3).sum(1),
            "jac": lambda _: np.kron(np.eye(6), np.ones(3)),
        },
        options={"ftol": 1e-14, "maxiter": 500},
    )
    alpha = solve_crammer_singer(kernel, targets, C=0.3, regularization=2.0).alpha
    np.testing.assert_allclose(alpha[0].numpy(), found.x.reshape(6, 3), atol=1e-6)


FAMILIES = ["scattered", "more points than features", "views", "nearly equal", "equal"]
GRID = list(itertools.product([0.01, 1.0, 30.0, 1000.0], [0.01, 0.1, 1.0, 100.0]))


def family(name, make_episodes):
    """Support points of four ways and five shots that are hard in one way."""
    if name == "scattered":
        return make_episodes(ways=4, shots=5, features=60)[:2]
    if name == "more points than features":
        return make_episodes(ways=4, shots=5, features=5)[:2]
    if name == "views":
        support, _, _ = make_episodes(episodes=2, ways=5, shots=1, features=8, seed=3)
        views = support.repeat_interleave(4, 1) + 0.02 * make_episodes(ways=4, shots=5, features=8)[0]
        return views, torch.arange(4).repeat(5).expand(2, -1)
    support, labels, _ = make_episodes(ways=4, shots=5, features=30)
    spread = 1e-4 if name == "nearly equal" else 0.0
    return support[:, :1] + spread * support, labels


@pytest.mark.parametrize("name", FAMILIES)
def test_extreme_problems_are_solved(name, make_episodes):
    points, labels = family(name, make_episodes)
    targets = one_hot(labels, 4)
    for scale, C in GRID:
        kernel = (scale * points) @ (scale * points).mT
        solution = solve_crammer_singer(kernel, targets, C=C)
        assert float(solution.residual.max()) <= 1e-9
        errors = kkt_errors(kernel, targets, solution.alpha, C)
        assert max(errors) <= 2e-9, (scale, C, errors)


@pytest.mark.parametrize("name", FAMILIES[:3])
def test_the_interior_point_alone_finds_the_same(name, make_episodes):
    points, labels = family(name, make_episodes)
    targets = one_hot(labels, 4)
    for scale, C in [(0.01, 0.1), (1.0, 0.1), (30.0, 100.0), (1000.0, 0.1)]:
        kernel = (scale * points) @ (scale * points).mT
        candidate, residual, factors = recover(problem(kernel, targets, C), keep_factors=True)
        alpha = solve_crammer_singer(kernel, targets, C=C).alpha
        torch.testing.assert_close(candidate.alpha.mT, alpha, rtol=0, atol=1e-8 * float(alpha.abs().max()))
        assert float(residual.max()) <= 1e-9
        assert sorted(row for rows, _ in factors for row in rows.tolist()) == [0, 1]


def test_the_fallback_serves_only_the_problems_that_need_it(make_episodes, monkeypatch):
    support, labels, _ = make_episodes(episodes=3, ways=4, shots=5, features=8)
    kernel, targets = support @ support.mT, one_hot(labels, 4)
    weight = torch.randn(
        kernel.shape[0], 20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )

    def solve_and_differentiate():
        leaf = kernel.clone().requires_grad_()
        solution = solve_crammer_singer(leaf, targets)
        return solution, torch.autograd.grad((solution.alpha * weight).sum(), leaf)[0]

    usual, usual_grad = solve_and_differentiate()
    assert not usual.fallback.any()
    real, sizes = active_set_module.active_set, []

    def forgets_the_second(given, active, **options):
        sizes.append(len(active))
        result = real(given, active, **options)
        if len(active) == 3:
            result.settled[1] = False
            result.candidate.alpha[1] = 7.0
        return result

    monkeypatch.setattr(crammer_singer, "active_set", forgets_the_second)
    mended, grad = solve_and_differentiate()
    assert mended.fallback.tolist() == [False, True, False]
    assert sizes == [3, 1]
    torch.testing.assert_close(mended.alpha, usual.alpha, rtol=0, atol=1e-10)
    torch.testing.assert_close(grad, usual_grad, rtol=1e-7, atol=1e-12)


def test_the_interior_point_serves_where_no_active_set_settles(make_episodes, monkeypatch):
    support, labels, _ = make_episodes(ways=4, shots=3, features=8)
    kernel, targets = (support @ support.mT).requires_grad_(), one_hot(labels, 4)
    usual = solve_crammer_singer(kernel, targets)
    grad = torch.autograd.grad(usual.alpha.square().sum(), kernel)[0]
    real = active_set_module.active_set

    def never_settles(given, active, **options):
        result = real(given, active, **options)
        result.settled[:] = False
        return result

    monkeypatch.setattr(crammer_singer, "active_set", never_settles)
    solution = solve_crammer_singer(kernel, targets)
    assert solution.fallback.all()
    assert float(solution.residual.max()) <= 1e-9
    torch.testing.assert_close(solution.alpha, usual.alpha, rtol=0, atol=1e-8)
    other = torch.autograd.grad(solution.alpha.square().sum(), kernel)[0]
    torch.testing.assert_close(other, grad, rtol=1e-5, atol=1e-9)


def test_an_unsolved_problem_is_never_returned(make_episodes, monkeypatch):
    support, labels, _ = make_episodes()
    monkeypatch.setattr(crammer_singer, "TOLERANCE", 1e-30)
    with pytest.raises(SolverError, match=r"2 of 2 problems unsolved .* relative KKT residual"):
        solve_crammer_singer(support @ support.mT, one_hot(labels, 5))


def test_a_kernel_with_nan_is_refused(make_episodes):
    support, labels, _ = make_episodes()
    support[1, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="not finite"):
        solve_crammer_singer(support @ support.mT, one_hot(labels, 5))


@pytest.mark.parametrize("what", ["alpha", "point_multiplier", "bound_multiplier"])
def test_the_residual_sees_each_part_of_a_wrong_solution(what, make_episodes):
    support, labels, _ = make_episodes(ways=4, shots=4, features=6)
    given = problem(support @ support.mT, one_hot(labels, 4))
    candidate, residual, _ = recover(given)
    assert float(residual.max()) <= 1e-9
    part = getattr(candidate, what)
    for index in itertools.product(range(2), *(range(0, size, 3) for size in part.shape[1:])):
        for change in (1e-5, -1e-5):
            before = float(part[index])
            part[index] += change
            wrong = kkt_residual(given, candidate)
            part[index] = before
            assert float(wrong[index[0]]) > 1e-7
            assert float(wrong[1 - index[0]]) <= 1e-9


def test_the_residual_of_nan_is_infinite(make_episodes):
    support, labels, _ = make_episodes()
    given = problem(support @ support.mT, one_hot(labels, 5))
    candidate, _, _ = recover(given)
    candidate.alpha[0, 0, 0] = torch.nan
    assert kkt_residual(given, candidate)[0] == torch.inf


def test_weakly_active_bounds_count_as_free():
    # Four equal points, two classes, C = 1/2 with K = 0 and H = I: alpha of the own class reaches its bound
    # exactly, with multiplier 0. Free, the solution is linear: alpha = H^-1 (Y - 1/2).
    targets = one_hot(torch.tensor([[0, 1, 0, 1]]), 2)
    kernel = torch.zeros(1, 4, 4, dtype=torch.float64, requires_grad=True)
    alpha = solve_crammer_singer(kernel, targets, C=0.5).alpha
    torch.testing.assert_close(alpha, targets - 0.5)
    weight = torch.arange(8.0, dtype=torch.float64).view(1, 4, 2)
    grad = torch.autograd.grad((alpha * weight).sum(), kernel)[0]
    leaf = kernel.detach().requires_grad_()
    linear = torch.linalg.solve(leaf + torch.eye(4, dtype=torch.float64), targets - 0.5)
    centred = weight - weight.mean(2, keepdim=True)
    expected = torch.autograd.grad((linear * centred).sum(), leaf)[0]
    torch.testing.assert_close(grad, (expected + expected.mT) / 2)


def test_chunks_do_not_change_the_result(make_episodes, monkeypatch):
    support, labels, _ = make_episodes(episodes=5)
    kernel = (support @ support.mT).requires_grad_()
    together = solve_crammer_singer(kernel, one_hot(labels, 5))
    grad = torch.autograd.grad(together.alpha.square().sum(), kernel)[0]
    monkeypatch.setattr(crammer_singer, "CHUNK", 2 * 5 * 15 * 15)
    apart = solve_crammer_singer(kernel, one_hot(labels, 5))
    torch.testing.assert_close(apart.alpha, together.alpha, rtol=0, atol=1e-13)
    other = torch.autograd.grad(apart.alpha.square().sum(), kernel)[0]
    torch.testing.assert_close(other, grad, rtol=1e-9, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_the_joint_task_with_views_that_hardly_differ(scale, make_episodes):
    # Five classes in four views each, fewer features than points: no hyperplanes separate them.
    points = make_episodes(ways=5, shots=5, features=32)[0].repeat_interleave(4, 1)
    points = scale * (points + 0.1 * make_episodes(ways=20, shots=5, features=32, seed=1)[0]).clamp_min(0)
    labels = (torch.arange(100) % 4).expand(2, -1) + 4 * make_episodes(ways=5, shots=5)[1].repeat_interleave(
        4, 1
    )
    kernel, targets = points @ points.mT, one_hot(labels, 20)
    for C in (0.01, 0.1, 1.0, 100.0):
        assert max(kkt_errors(kernel, targets, solve_crammer_singer(kernel, targets, C=C).alpha, C)) <= 1e-9


@pytest.mark.slow
def test_three_hundred_points_in_twenty_classes(make_episodes):
    support, labels, _ = make_episodes(episodes=1, ways=20, shots=15, features=100)
    kernel, targets = (support @ support.mT).requires_grad_(), one_hot(labels, 20)
    solution = solve_crammer_singer(kernel, targets)
    assert max(kkt_errors(kernel, targets, solution.alpha, 0.1)) <= 1e-9
    weight = torch.randn(1, 300, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grad = torch.autograd.grad((solution.alpha * weight).sum(), kernel)[0]
    step = support @ support.mT + torch.eye(300, dtype=torch.float64)
    ends = [
        float((solve_crammer_singer(kernel.detach() + size * step, targets).alpha * weight).sum())
        for size in (1e-6, -1e-6)
    ]
    assert float((grad * step).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)
