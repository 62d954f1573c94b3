from __future__ import annotations

import pytest
import torch

from sla_bench.errors import UserError
from sla_bench.models.heads.ridge import RidgeHead


@pytest.mark.parametrize("features", [4, 14, 15, 16, 40])
def test_dual_and_primal_are_the_same_formula(features, make_episodes):
    support, labels, query = make_episodes(features=features)
    one_hot = torch.nn.functional.one_hot(labels, 5).double()
    kernel = support @ support.mT + 3.0 * torch.eye(15, dtype=torch.float64)
    expected = 2 * query @ support.mT @ torch.linalg.solve(kernel, one_hot)
    torch.testing.assert_close(RidgeHead(regularization=3.0)(support, labels, query, 5), expected)


@pytest.mark.parametrize("features", [8, 64])
def test_an_ill_conditioned_system_is_an_error(features, make_episodes):
    support, labels, query = make_episodes(features=features)
    # Copies of one point per class: the system is singular but for the regularization.
    support = 1e4 * support[:, :1].expand_as(support) + 1e-9 * support
    with pytest.raises(UserError, match=r"ill-conditioned.*raise regularization"):
        RidgeHead(regularization=1e-12)(support, labels, query, 5)


def test_large_features_are_solved_in_double_though_they_come_in_single(make_episodes):
    support, labels, query = make_episodes(features=64)
    large = (1000 * support).float()
    query = query.float()
    logits = RidgeHead()(large, labels, query, 5)
    exact = RidgeHead()(large.double(), labels, query.double(), 5)
    assert (logits - exact).abs().max() < 1e-4 * exact.abs().max()


def test_overflow_is_an_error(make_episodes):
    support, labels, query = make_episodes(features=64)
    with pytest.raises(UserError, match="not finite"):
        RidgeHead()(1e200 * support, labels, query, 5)
