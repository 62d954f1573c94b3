"""Heads of stage two against torch's own layers and losses, naive formulas, and identities."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.registry import STAGE_TWO
from sla_bench.training.long_tail import left_out
from sla_bench.training.stage_two import (
    CRT,
    LAS,
    LOS,
    LWS,
    NCM,
    Embedded,
    StageTwo,
    TauNorm,
    cosine_batches,
    fit_best,
)

N, D = 4, 6


def images(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % N
    centres = torch.randn(N, D, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    features = centres[labels] + torch.randn(count, D, generator=generator, dtype=torch.float64)
    return Embedded(3 * features, torch.randn(count, N, generator=generator, dtype=torch.float64), labels)


TRAIN, HELD_OUT = images(300, 0), images(80, 1)
NORMS = torch.tensor([2.0, 1.0, 0.5, 3.0], dtype=torch.float64)


def by_torch(parameters, loss_of, sampler, epochs, rate, decay=0.0, labels=TRAIN.labels):
    """Fit parameters by torch's SGD on the batches of the heads."""
    optimiser = torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay)
    for batch, factor in cosine_batches(labels, sampler, epochs, 5):
        optimiser.param_groups[0]["lr"] = rate * factor
        optimiser.zero_grad()
        loss_of(batch).backward()
        optimiser.step()


@pytest.mark.parametrize("kind", [CRT, LOS])
def test_linear_heads_are_sgd_on_cross_entropy(kind, monkeypatch):
    monkeypatch.setattr(kind, "epochs", 4)
    heads = kind().fit(TRAIN, NORMS, 5)(HELD_OUT.features, HELD_OUT.scores)
    length = TRAIN.features.norm(dim=1).square().mean().sqrt()
    for number in (0, len(heads) - 1):
        candidate = kind().candidates[number]
        layer = nn.Linear(D, N).double()
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)

        def logits(of, layer=layer):
            return layer(of.features / length) + (of.scores if kind is LOS else 0)

        def loss(batch, logits=logits, eps=candidate["smoothing"]):
            own = Embedded(TRAIN.features[batch], TRAIN.scores[batch], TRAIN.labels[batch])
            return F.cross_entropy(logits(own), own.labels, label_smoothing=eps)

        sampler = "class-balanced" if kind is CRT else "uniform"
        by_torch([*layer.parameters()], loss, sampler, 4, candidate["rate"], candidate["decay"])
        torch.testing.assert_close(heads[number], logits(HELD_OUT), rtol=1e-9, atol=1e-11)


def test_label_aware_smoothing_is_sgd_on_its_own_loss(monkeypatch):
    monkeypatch.setattr(LAS, "epochs", 4)
    counts = [150, 90, 45, 15]
    labels = torch.arange(N).repeat_interleave(torch.tensor(counts))
    train = Embedded(TRAIN.features, TRAIN.scores, labels)
    heads = LAS().fit(train, NORMS, 5)(HELD_OUT.features, HELD_OUT.scores)
    length = TRAIN.features.norm(dim=1).square().mean().sqrt()
    number = LAS().candidates.index({"rate": 0.3, "decay": 0.0, "head": 0.4, "tail": 0.1})
    eps = [0.1 + 0.3 * math.sin((n - 15) * math.pi / (2 * (150 - 15))) for n in counts]
    assert (eps[0], eps[3]) == (pytest.approx(0.4), 0.1)
    layer = nn.Linear(D, N).double()
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)

    def loss(batch):
        log_p = (layer(train.features[batch] / length) + train.scores[batch]).log_softmax(1)
        own = [
            (1 - eps[y]) * row[y] + eps[y] * row.mean()
            for row, y in zip(log_p, labels[batch].tolist(), strict=True)
        ]
        return -sum(own) / len(own)

    by_torch([*layer.parameters()], loss, "class-balanced", 4, 0.3, labels=labels)
    expected = layer(HELD_OUT.features / length) + HELD_OUT.scores
    torch.testing.assert_close(heads[number], expected, rtol=1e-9, atol=1e-11)


def test_lws_learns_a_factor_for_each_class(monkeypatch):
    monkeypatch.setattr(LWS, "epochs", 4)
    heads = LWS().fit(TRAIN, NORMS, 5)(HELD_OUT.features, HELD_OUT.scores)
    for number, candidate in enumerate(LWS().candidates):
        factors = torch.ones(N, dtype=torch.float64, requires_grad=True)

        def loss(batch, factors=factors):
            return F.cross_entropy(factors * TRAIN.scores[batch], TRAIN.labels[batch])

        by_torch([factors], loss, "class-balanced", 4, candidate["rate"])
        torch.testing.assert_close(heads[number], factors * HELD_OUT.scores, rtol=1e-9, atol=1e-11)


def test_tau_norm_divides_by_lengths_and_is_the_plain_head_at_0():
    heads = TauNorm().fit(TRAIN, NORMS, 0)(HELD_OUT.features, HELD_OUT.scores)
    assert torch.equal(heads[0], HELD_OUT.scores)
    for candidate, scores in zip(TauNorm().candidates, heads, strict=True):
        torch.testing.assert_close(scores, HELD_OUT.scores / NORMS ** candidate["tau"])
    layer = nn.Linear(D, N, bias=False).double()
    plain = Embedded(TRAIN.features, layer(TRAIN.features).detach(), TRAIN.labels)
    norms = layer.weight.detach().norm(dim=1)
    one = TauNorm().fit(plain, norms, 0)(TRAIN.features, plain.scores)[10]
    torch.testing.assert_close(one, TRAIN.features @ F.normalize(layer.weight.detach(), dim=1).T)


def test_the_nearest_class_mean_is_that_of_each_form():
    heads = NCM().fit(TRAIN, NORMS, 0)(HELD_OUT.features, HELD_OUT.scores)
    mean = TRAIN.features.mean(0)
    forms = [lambda z: z, lambda z: z / z.norm(), lambda z: (z - mean) / (z - mean).norm()]
    for scores, form in zip(heads, forms, strict=True):
        for k in range(N):
            centre = torch.stack([form(z) for z in TRAIN.features[TRAIN.labels == k]]).mean(0)
            expected = torch.stack([-(form(z) - centre).square().sum() for z in HELD_OUT.features])
            torch.testing.assert_close(scores[:, k], expected)


@pytest.mark.parametrize("name", STAGE_TWO)
def test_a_head_is_fitted_to_the_same_bits_each_time_and_for_every_candidate(name):
    kind = STAGE_TWO.load(name)()
    first, second = (kind.fit(TRAIN, NORMS, 3)(HELD_OUT.features, HELD_OUT.scores) for _ in range(2))
    assert first.shape == (len(kind.candidates), len(HELD_OUT.labels), N)
    assert torch.equal(first, second)
    chosen = fit_best(kind, TRAIN, HELD_OUT, NORMS, 3)
    assert chosen.parameters in kind.candidates
    assert torch.equal(
        chosen.predict(HELD_OUT.features, HELD_OUT.scores), first[kind.candidates.index(chosen.parameters)]
    )


@pytest.mark.parametrize("name", ["crt", "ncm"])
def test_new_heads_do_not_read_the_old_one(name):
    chosen = fit_best(STAGE_TWO.load(name)(), TRAIN, HELD_OUT, NORMS, 0)
    assert chosen.accuracy > 0.8
    other = chosen.predict(HELD_OUT.features, torch.zeros_like(HELD_OUT.scores))
    assert torch.equal(other, chosen.predict(HELD_OUT.features, HELD_OUT.scores))


class Fixed(StageTwo):
    label = "fixed"
    grid = {"answer": (0, 1, 2)}  # noqa: RUF012

    def fit(self, train, norms, seed):
        return lambda f, s: torch.eye(3, dtype=torch.float64)[:, None].expand(3, len(f), 3)


def test_the_candidate_with_the_best_mean_recall_is_chosen_and_the_first_of_equals():
    labels = torch.tensor([0, 0, 0, 1, 1])
    held_out = Embedded(torch.zeros(5, 1), torch.zeros(5, 3), labels)
    chosen = fit_best(Fixed(), TRAIN, held_out, NORMS, 0)
    # Answers 0 and 1 have a mean recall of 1/2; class 2 has no held-out image.
    assert (chosen.parameters, chosen.accuracy) == ({"answer": 0}, 0.5)


def test_images_left_out_are_outside_the_subset_and_at_most_a_tenth_of_its_largest_class():
    labels = np.repeat(np.arange(4), [60, 60, 60, 62])
    index = np.concatenate([np.flatnonzero(labels == k)[:n] for k, n in enumerate([60, 40, 58, 20])])
    found = left_out(labels, index, 0)
    assert not set(found) & set(index)
    assert len(set(found)) == len(found)
    assert np.bincount(labels[found], minlength=4).tolist() == [0, 6, 2, 6]
    assert np.array_equal(found, left_out(labels, index, 0))
    assert not np.array_equal(found, left_out(labels, index, 1))
    with pytest.raises(UserError, match="1 of 4 classes have training images that the backbone never saw"):
        left_out(labels, np.arange(241), 0)
