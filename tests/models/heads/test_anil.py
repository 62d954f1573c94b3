import pytest
import torch
from peer_modules import peer
from torch.nn import functional as F

from sla_bench.errors import UserError

peer("learn2learn")
pytestmark = pytest.mark.learn2learn

from sla_bench.models.heads.anil import ANIL  # noqa: E402


def by_hand(support, labels, query, ways, steps, rate, start=0.0):
    """Gradient descent on mean cross entropy, gradients written out; one episode."""
    weight = support.new_zeros(ways, support.shape[1]) + start
    bias = support.new_zeros(ways)
    targets = F.one_hot(labels, ways).to(support.dtype)
    for _ in range(steps):
        error = ((support @ weight.T + bias).softmax(1) - targets) / len(support)
        weight = weight - rate * error.T @ support
        bias = bias - rate * error.sum(0)
    return query @ weight.T + bias


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_inner_loop_is_gradient_descent_written_out(steps, first_order, make_episodes):
    support, labels, query = make_episodes()
    logits = ANIL(inner_steps=steps, inner_rate=0.3, first_order=first_order)(support, labels, query, 5)
    for e in range(len(support)):
        expected = by_hand(support[e], labels[e], query[e], 5, steps, 0.3)
        torch.testing.assert_close(logits[e], expected, rtol=1e-12, atol=1e-12)


def test_without_a_step_all_classes_are_equal(make_episodes):
    assert not ANIL(inner_steps=0)(*make_episodes(), 5).any()


def test_a_start_shared_by_all_classes_changes_no_prediction(make_episodes):
    """Why the start is zero: a learned one that is the same for all classes would learn nothing."""
    support, labels, query = make_episodes()
    start = torch.randn(12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    logits = ANIL(inner_steps=3, inner_rate=0.3)(support, labels, query, 5)
    for e in range(len(support)):
        shared = by_hand(support[e], labels[e], query[e], 5, 3, 0.3, start)
        assert (shared - logits[e]).abs().max() > 0.1
        torch.testing.assert_close(shared.softmax(1), logits[e].softmax(1), rtol=1e-10, atol=1e-12)


def gradients(head, support, labels, query):
    leaves = [support.clone().requires_grad_(), query.clone().requires_grad_()]
    logits = head(leaves[0], labels, leaves[1], 5)
    weight = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.autograd.grad((logits * weight).sum(), leaves, allow_unused=True), weight


def test_second_order_gradients_agree_with_finite_differences(make_episodes):
    support, labels, query = make_episodes()
    head = ANIL(inner_steps=3, inner_rate=0.3)
    (at_support, at_query), weight = gradients(head, support, labels, query)
    g = torch.Generator().manual_seed(2)
    for gradient, move in ((at_support, 0), (at_query, 1)):
        step = torch.randn(gradient.shape, generator=g, dtype=torch.float64)
        ends = []
        for size in (1e-5, -1e-5):
            points = [support, query]
            points[move] = points[move] + size * step
            with torch.no_grad():
                ends.append(float((head(points[0], labels, points[1], 5) * weight).sum()))
        assert float((gradient * step).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_first_order_gradients_come_from_the_queries_alone(make_episodes):
    episode = make_episodes()
    (second_support, second_query), _ = gradients(ANIL(inner_steps=3, inner_rate=0.3), *episode)
    first = ANIL(inner_steps=3, inner_rate=0.3, first_order=True)
    (first_support, first_query), _ = gradients(first, *episode)
    assert second_support.abs().max() > 1e-3
    assert first_support is None
    torch.testing.assert_close(first_query, second_query)


def test_episodes_and_queries_do_not_see_each_other(make_episodes):
    support, labels, query = make_episodes(episodes=3)
    head = ANIL(inner_rate=0.3)
    logits = head(support, labels, query, 5)
    alone = [head(support[e : e + 1], labels[e : e + 1], query[e : e + 1], 5) for e in range(3)]
    torch.testing.assert_close(torch.cat(alone), logits, rtol=1e-12, atol=1e-12)
    one = [head(support, labels, query[:, q : q + 1], 5) for q in range(query.shape[1])]
    torch.testing.assert_close(torch.cat(one, 1), logits, rtol=1e-12, atol=1e-12)


def test_names_of_classes_mean_nothing(make_episodes):
    support, labels, query = make_episodes()
    order = torch.tensor([3, 0, 4, 1, 2])
    head = ANIL(inner_rate=0.3)
    renamed = head(support, order[labels], query, 5)
    torch.testing.assert_close(renamed[:, :, order], head(support, labels, query, 5))


def test_the_test_may_take_more_steps(make_episodes):
    episode = make_episodes()
    head = ANIL(inner_steps=2, test_inner_steps=7, inner_rate=0.3)
    assert torch.equal(head(*episode, 5), ANIL(inner_steps=2, inner_rate=0.3)(*episode, 5))
    longer = ANIL(inner_steps=7, inner_rate=0.3)(*episode, 5)
    with torch.no_grad():
        assert torch.equal(head.eval()(*episode, 5), longer)


def test_bf16_embeddings_are_adapted_to_in_fp32(make_episodes):
    support, labels, query = make_episodes()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = ANIL(inner_rate=0.3)(support.bfloat16(), labels, query.bfloat16(), 5)
    assert logits.dtype == torch.float32
    exact = ANIL(inner_rate=0.3)(support.bfloat16().double(), labels, query.bfloat16().double(), 5)
    torch.testing.assert_close(logits.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("inner_steps", -1, "whole number of at least 0"),
        ("inner_steps", 1.5, "whole number"),
        ("test_inner_steps", -1, "whole number of at least 0"),
        ("inner_rate", 0, "finite number above 0"),
        ("first_order", 1, "true or false"),
        ("scale", 0, "finite number above 0"),
    ],
)
def test_options_are_checked(option, value, message):
    with pytest.raises(UserError, match=f"ANIL: {option} must be .*{message}"):
        ANIL(**{option: value})
