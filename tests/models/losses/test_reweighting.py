"""Class weights and their schedule."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sla_bench.adapters.pieces import get_loss
from sla_bench.errors import UserError
from sla_bench.models.losses.base import ClassBalancedWeights
from sla_bench.models.losses.criteria import LDAM
from sla_bench.registry import LOSSES

COUNTS = [1000, 100, 10]
WEIGHTED = [name for name, entry in LOSSES.items() if "start" in entry.options]


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(1, 10**6), min_size=1, max_size=20),
    beta=st.sampled_from([0.0, 0.5, 0.99, 0.9999, 1 - 1e-12]),
)
def test_weights_sum_to_the_number_of_classes_and_fall_with_size(counts, beta):
    weights = ClassBalancedWeights(counts, beta).weights.double()
    assert float(weights.sum()) == pytest.approx(len(counts), rel=1e-5)
    by_size = weights[torch.tensor(counts).argsort()]
    assert (by_size.diff() <= 1e-6).all()


def test_the_ends_of_beta_are_equal_weights_and_inverse_sizes():
    assert ClassBalancedWeights(COUNTS, beta=0.0).weights.tolist() == [1, 1, 1]
    inverse = 1 / torch.tensor(COUNTS)
    expected = 3 * inverse / inverse.sum()
    torch.testing.assert_close(ClassBalancedWeights(COUNTS, beta=1 - 1e-13).weights, expected)


@settings(max_examples=40)
@given(epochs=st.integers(1, 400))
def test_deferred_weights_start_at_the_same_relative_epoch(epochs):
    criterion = get_loss("ldam-drw", COUNTS)
    for epoch in range(epochs):
        for progress in (epoch / epochs, Fraction(epoch, epochs)):
            criterion.reweight(progress)
            assert (criterion.reweighting.current is not None) == (5 * epoch >= 4 * epochs)


def test_the_published_epoch_is_160_of_200():
    criterion = get_loss("ce-drw", COUNTS)
    on = []
    for epoch in range(200):
        criterion.reweight(epoch / 200)
        on.append(criterion.reweighting.current is not None)
    assert on.index(True) == 160
    assert all(on[160:])


@pytest.mark.parametrize("name", WEIGHTED)
def test_only_the_latest_progress_matters(name, make_batch):
    logits, labels = make_batch(3)
    criterion = get_loss(name, COUNTS, start=0.5)

    def loss(progress):
        criterion.reweight(progress)
        return float(criterion(logits, labels))

    before, after = loss(0.0), loss(0.5)
    assert before != pytest.approx(after, rel=1e-3)
    assert [loss(p) for p in (0.99, 0.5, 0.49, 0.49, 0.7)] == [after, after, before, before, after]


@pytest.mark.parametrize("name", WEIGHTED)
def test_before_its_start_a_loss_is_the_plain_one_bit_for_bit(name, make_batch):
    logits, labels = make_batch(3)
    plain = {"cb-rw": "ce", "ce-drw": "ce", "cb-focal": "focal", "ldam-drw": "ldam"}[name]
    deferred = get_loss(name, COUNTS, start=0.7)
    deferred.reweight(0.69)
    assert torch.equal(deferred(logits, labels), get_loss(plain, COUNTS)(logits, labels))


def test_a_weighted_mean_divides_by_the_weights(make_batch):
    logits, labels = make_batch(3)
    criterion = get_loss("ldam-drw", COUNTS, start=0.0)
    weights = criterion.reweighting.weights.double()[labels]
    plain = LDAM(COUNTS)
    each = torch.stack([plain(f[None], y[None]) for f, y in zip(logits, labels, strict=True)])
    torch.testing.assert_close(criterion(logits, labels), (weights * each).sum() / weights.sum())


def test_any_loss_takes_any_reweighting(make_batch):
    logits, labels = make_batch(3)
    composed = LDAM(COUNTS, ClassBalancedWeights(COUNTS, beta=0.99, start=0.3))
    named = get_loss("ldam-drw", COUNTS, beta=0.99, start=0.3)
    for progress in (0.0, 0.3):
        composed.reweight(progress)
        named.reweight(progress)
        assert torch.equal(composed(logits, labels), named(logits, labels))


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("start", [1, 1.0, 1.5, 160])
def test_a_start_after_the_last_epoch_is_refused(name, start):
    with pytest.raises(UserError, match="re-weighting would start after the last epoch"):
        get_loss(name, COUNTS, start=start)


def test_beta_of_one_is_refused():
    with pytest.raises(UserError, match="effective number of images is defined below 1"):
        get_loss("cb-rw", COUNTS, beta=1.0)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("progress", [-0.01, 1, 1.5, float("nan")])
def test_progress_is_a_fraction_below_one(name, progress):
    with pytest.raises(UserError, match=r"progress is epoch / epochs in \[0, 1\)"):
        get_loss(name, COUNTS).reweight(progress)


def test_weights_follow_the_criterion_to_another_device():
    criterion = get_loss("ldam-drw", COUNTS).to("meta")
    criterion.reweight(0.9)
    assert criterion.reweighting.current.device.type == "meta"
    assert criterion.margins.device.type == "meta"
