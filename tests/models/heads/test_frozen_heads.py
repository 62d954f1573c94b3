"""Heads for frozen backbones: closed forms, published code, symmetry, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.models.heads.cosine import CosineHead
from sla_bench.models.heads.finetune import LogisticHead
from sla_bench.models.heads.fitted import TOLERANCE
from sla_bench.models.heads.simpleshot import SimpleShot

HEADS = {"simpleshot": SimpleShot, "cosine": CosineHead, "finetune": LogisticHead}


@pytest.fixture(params=list(HEADS))
def name(request):
    return request.param


def unit(points):
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def error(value, reference):
    """Largest difference, relative to the largest value of the reference."""
    return float((value - reference).detach().abs().max() / reference.detach().abs().max())


def test_simpleshot_is_the_nearest_mean_of_normalised_points(make_episodes):
    support, labels, query = make_episodes()
    logits = SimpleShot()(support, labels, query, 5).detach().numpy()
    for e in range(2):
        s, q = unit(support[e].numpy()), unit(query[e].numpy())
        means = np.stack([s[labels[e].numpy() == c].mean(0) for c in range(5)])
        squares = ((q[:, None] - means) ** 2).sum(-1)
        np.testing.assert_allclose(logits[e], -squares / 12, rtol=1e-10)


@pytest.mark.parametrize(("shots", "C"), [(1, 1.0), (4, 1.0), (4, 0.01), (4, 300.0)])
def test_finetune_is_the_logistic_regression_of_scikit_learn(shots, C, make_episodes):
    support, labels, query = make_episodes(shots=shots)
    # Neither balanced nor centred: the biases have something to do.
    support[..., 0] += 2
    kept = torch.arange(5 * shots) != int(torch.nonzero(labels[0] == 2)[0]) if shots > 1 else slice(None)
    support, labels = support[:, kept], labels[:, kept]
    ours = LogisticHead(C=C)(support, labels, query, 5).detach().log_softmax(2).numpy()
    for e in range(2):
        points, classes = unit(support[e].numpy()), labels[e].numpy()
        fitted = LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(points, classes)
        expected = fitted.predict_log_proba(unit(query[e].numpy()))
        np.testing.assert_allclose(ours[e], expected, atol=1e3 * TOLERANCE)


def test_finetune_says_when_it_does_not_converge(monkeypatch, make_episodes):
    monkeypatch.setattr("sla_bench.models.heads.fitted.MOST_ITERATIONS", 3)
    with pytest.raises(UserError, match="does not converge in 3 iterations with C 1; take a smaller C"):
        LogisticHead()(*make_episodes(), 5)


class CosineLayer(nn.Module):
    """Directions and gains as parameters; the last of D + 1 features is 0 in all points."""

    def __init__(self, ways, features):
        super().__init__()
        self.direction = nn.Parameter(torch.zeros(ways, features + 1, dtype=torch.float64))
        self.gain = nn.Parameter(torch.full((ways, 1), 1 / math.sqrt(3), dtype=torch.float64))
        with torch.no_grad():
            self.direction[:, -1] = 1 / math.sqrt(3)

    def forward(self, points):
        points = F.pad(F.normalize(points, dim=1), (0, 1))
        return 2 * points @ (self.gain * F.normalize(self.direction, dim=1)).T


@pytest.mark.parametrize(("shots", "ways", "steps", "rate"), [(1, 5, 100, 0.02), (15, 20, 300, 0.25)])
def test_cosine_takes_the_steps_of_a_hand_written_loop(shots, ways, steps, rate, make_episodes):
    support, labels, query = make_episodes(shots=shots, ways=ways)
    logits = CosineHead()(support, labels, query, ways)
    for e in range(2):
        layer = CosineLayer(ways, 12)
        optimizer = torch.optim.SGD(layer.parameters(), lr=rate, weight_decay=0.001)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(layer(support[e]), labels[e]).backward()
            optimizer.step()
        assert error(logits[e], layer(query[e])) < 1e-10


def published_baseline_plus_plus(support, labels, query, ways):
    """As wyharveychen/CloserLookFewShot: 100 epochs of random batches of 4, from random weights."""
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(support.shape[1], ways, bias=False), dim=0)
    support, query = F.normalize(support, dim=1), F.normalize(query, dim=1)
    settings = {"lr": 0.01, "momentum": 0.9, "dampening": 0.9, "weight_decay": 0.001}
    optimizer = torch.optim.SGD(layer.parameters(), **settings)
    for _ in range(100):
        for batch in torch.randperm(len(support)).split(4):
            optimizer.zero_grad()
            F.cross_entropy(2 * layer(support[batch]), labels[batch]).backward()
            optimizer.step()
    return (2 * layer(query)).detach()


@pytest.mark.slow
def test_cosine_is_closer_to_the_published_code_than_that_is_to_itself(make_episodes):
    support, labels, query = (
        x.float() if x.is_floating_point() else x
        for x in make_episodes(episodes=4, shots=5, queries=60, features=256, spread=3.0)
    )
    ours = CosineHead()(support, labels, query, 5).detach()
    episodes = list(zip(support, labels, query, strict=True))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = (
            torch.stack([published_baseline_plus_plus(*e, 5) for e in episodes]) for _ in range(2)
        )
    assert float((ours - first).abs().mean()) < float((first - second).abs().mean())
    assert float(ours.std(2).mean()) == pytest.approx(float(first.std(2).mean()), rel=0.2)


def test_length_means_nothing_and_direction_does(name, make_episodes):
    support, labels, query = make_episodes()
    head = HEADS[name]()
    logits = head(support, labels, query, 5)
    assert error(head(3 * support, labels, query / 7, 5), logits) < 1e-10
    assert error(head(support + 1, labels, query + 1, 5), logits) > 1e-2


def test_points_of_length_zero_give_finite_logits(name, make_episodes):
    support, labels, query = make_episodes()
    support[0, 0], query[0, 0] = 0, 0
    assert torch.isfinite(HEADS[name]()(support, labels, query, 5)).all()


@pytest.mark.parametrize(
    ("cls", "option", "value"),
    [
        (LogisticHead, "C", 30.0),
        (CosineHead, "epochs", 10),
        (CosineHead, "learning_rate", 0.1),
        (CosineHead, "weight_decay", 0.1),
        (CosineHead, "scale", 10.0),
    ],
)
def test_each_option_changes_the_logits(cls, option, value, make_episodes):
    episode = make_episodes()
    assert error(cls(**{option: value})(*episode, 5), cls()(*episode, 5)) > 1e-2


@pytest.mark.parametrize(
    ("cls", "option", "value", "message"),
    [
        (LogisticHead, "C", 0, "C must be a finite number above 0"),
        (CosineHead, "epochs", 0, "epochs must be a whole number of at least 1"),
        (CosineHead, "epochs", 1.5, "epochs must be a whole number of at least 1"),
        (CosineHead, "learning_rate", -1, "learning_rate must be a finite number above 0"),
        (CosineHead, "weight_decay", 1, "weights would change their sign"),
        (SimpleShot, "centred", 1, "centred must be true or false"),
        (CosineHead, "scale", 0, "scale must be a finite number above 0"),
    ],
)
def test_options_are_checked(cls, option, value, message):
    with pytest.raises(UserError, match=message):
        cls(**{option: value})


@pytest.mark.parametrize("fitted", ["cosine", "finetune"])
def test_a_gradient_of_the_support_is_refused_not_forgotten(fitted, make_episodes):
    support, labels, query = make_episodes()
    head = HEADS[fitted]()
    with pytest.raises(UserError, match="gives no gradient with respect to the support: detach"):
        head(support.requires_grad_(), labels, query, 5)
    logits = head(support.detach(), labels, query.requires_grad_(), 5)
    assert float(torch.autograd.grad(logits.square().sum(), query)[0].abs().sum()) > 0
    with torch.no_grad():
        assert error(head(support, labels, query, 5), logits) < 1e-12
