"""Episodes without information: equal images, zero embeddings, one class, single images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sla_bench.errors import UserError
from sla_bench.models.heads.ridge import TOLERANCE, RidgeHead
from sla_bench.registry import LEARNERS

NAMES = [name for name, entry in LEARNERS.items() if not entry.needs_learn2learn]
EPISODIC = [name for name in NAMES if LEARNERS[name].trains_on == "episodes"]


@pytest.fixture(params=EPISODIC)
def head(request):
    """One that is trained on episodes, and so has gradients."""
    return LEARNERS.load(request.param)()


def labels_of(ways, shots):
    return torch.arange(ways).repeat(shots).expand(2, -1).contiguous()


def logits_and_gradient(head, support, labels, query, ways):
    support.requires_grad_()
    query.requires_grad_()
    logits = head(support, labels, query, ways)
    target = torch.zeros(logits.shape[:2], dtype=torch.int64).flatten()
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), target).backward()
    return logits.detach(), torch.cat([support.grad, query.grad], 1)


EMPTY = {
    "zero": torch.zeros(1, 1, 16),
    "equal": torch.linspace(-1, 1, 16).view(1, 1, 16),
    "equal and large": 1e3 * torch.linspace(-1, 1, 16).view(1, 1, 16),
}


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("kind", EMPTY)
def test_where_no_image_differs_no_class_is_preferred(head, kind, shots):
    support = EMPTY[kind].repeat(2, 5 * shots, 1)
    query = EMPTY[kind].repeat(2, 7, 1)
    logits, gradient = logits_and_gradient(head, support, labels_of(5, shots), query, 5)
    size = float(logits.abs().max())
    assert float((logits - logits[..., :1]).abs().max()) <= 1e-6 * max(1.0, size)
    assert torch.isfinite(gradient).all()


def test_one_class_is_all_there_is(head):
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.randn(2, n, 16, generator=generator) for n in (3, 4))
    logits, gradient = logits_and_gradient(head, support, torch.zeros(2, 3, dtype=torch.int64), query, 1)
    assert logits.shape == (2, 4, 1)
    assert torch.isfinite(logits).all()
    # Whatever the logit of the only class is, its probability is one.
    assert float(gradient.abs().max()) == 0


def test_a_class_with_one_image_stands_beside_one_with_fifty(head):
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([0] * 50 + [1]).expand(2, -1).contiguous()
    support = torch.randn(2, 51, 16, generator=generator) + 4 * labels.unsqueeze(2)
    query = support[:, 50:] + 0.01
    logits, gradient = logits_and_gradient(head, support.clone(), labels, query.clone(), 2)
    assert torch.isfinite(gradient).all()
    assert (logits.argmax(2) == 1).all()


@given(scale=st.floats(-6, 6), seed=st.integers(0, 2**32 - 1), shots=st.integers(1, 5))
@settings(max_examples=25)
@pytest.mark.parametrize("name", NAMES)
def test_embeddings_of_any_size_are_solved_or_refused(name, scale, seed, shots):
    generator = torch.Generator().manual_seed(seed)
    support, query = (10.0**scale * torch.randn(2, n, 8, generator=generator) for n in (3 * shots, 4))
    head = LEARNERS.load(name)()
    try:
        logits = head(support, labels_of(3, shots), query, 3)
    except UserError as error:
        assert "residual" in str(error)  # noqa: PT017
    else:
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("ways", [1, 5])
@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_numbers_where_images_say_nothing(name, kind, ways):
    support, query = (EMPTY[kind].repeat(2, n, 1) for n in (ways, 7))
    logits = LEARNERS.load(name)()(support, labels_of(ways, 1), query, ways)
    assert logits.shape == (2, 7, ways)
    assert torch.isfinite(logits).all()


def test_ridge_reports_its_residual_as_the_svm_does(make_episodes):
    head = RidgeHead()
    assert head.last_residual is None
    head(*make_episodes(), 5)
    assert 0 <= head.last_residual <= 1e-12
    support, labels, query = make_episodes(features=64)
    almost_equal = 100 * support[:, :1].expand_as(support) + 1e-9 * support
    hard = RidgeHead(regularization=1e-2)
    hard(almost_equal, labels, query, 5)
    assert head.last_residual < hard.last_residual <= TOLERANCE
