from __future__ import annotations

import pytest
import torch

from sla_bench.models.heads.svm import SVMHead
from sla_bench.models.svm_solver.crammer_singer import SolverError


def test_the_residual_is_reported_and_no_state(make_episodes):
    head = SVMHead()
    assert head.last_residual is None
    head(*make_episodes(), 5)
    assert 0 <= head.last_residual <= 1e-9
    assert list(head.state_dict()) == ["scale"]


def test_every_problem_is_solved_with_and_without_gradient(make_episodes):
    support, labels, query = make_episodes()
    head = SVMHead()
    with torch.no_grad():
        evaluated = head(support, labels, query, 5)
    trained = head(support.requires_grad_(), labels, query, 5)
    torch.testing.assert_close(evaluated, trained, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("where", ["support", "query"])
def test_gradients_flow_where_only_one_side_wants_them(where, make_episodes):
    support, labels, query = make_episodes()
    leaves = {"support": support, "query": query}
    leaf = leaves[where].requires_grad_()
    SVMHead()(leaves["support"], labels, leaves["query"], 5).square().sum().backward()
    assert float(leaf.grad.abs().max()) > 1e-3


def test_gradients_may_be_asked_for_twice(make_episodes):
    support, labels, query = make_episodes()
    logits = SVMHead()(support.requires_grad_(), labels, query, 5).sum()
    first = torch.autograd.grad(logits, support, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(logits, support)[0], first, rtol=0, atol=0)


def test_nearly_equal_views_in_single_precision(make_episodes):
    # Four views of an image as four classes, almost on top of each other, with large features.
    support, labels, query = make_episodes(episodes=1, ways=8, shots=5, features=64)
    support = (100 * (support[:, :1] + 1e-3 * support)).float()
    query = query.float()
    logits = SVMHead()(support, labels, query, 8)
    exact = SVMHead()(support.double(), labels, query.double(), 8)
    assert (logits - exact).abs().max() < 1e-3 * exact.abs().max()


def test_an_unsolvable_batch_is_an_error(make_episodes):
    support, labels, query = make_episodes(shots=5, features=4)
    with pytest.raises(SolverError, match=r"unsolved .*raise regularization"):
        SVMHead(regularization=1e-14)(1e9 * support, labels, query, 5)
