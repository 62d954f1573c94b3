from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sla_bench.config import ImbalancedRun
from sla_bench.errors import UserError
from sla_bench.training.class_sampling import SAMPLERS, ClassSampler


def labels_of_sizes(sizes):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


def drawn(sampler, batches):
    return torch.cat([sampler.next() for _ in range(batches)])


SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=6)
KINDS = st.sampled_from(SAMPLERS)


def test_the_command_line_offers_these_samplers():
    assert get_args(ImbalancedRun.model_fields["sampler"].annotation) == SAMPLERS


@settings(max_examples=40)
@given(sizes=SIZES, batch_size=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_uniform_visits_each_image_once_per_epoch(sizes, batch_size, seed):
    size = sum(sizes)
    sampler = ClassSampler(labels_of_sizes(sizes), "uniform", batch_size, seed)
    stream = drawn(sampler, -(-3 * size // batch_size))
    for epoch in stream[: 3 * size].view(3, size):
        assert torch.equal(epoch.sort().values, torch.arange(size))


def test_uniform_epochs_differ_in_order():
    stream = drawn(ClassSampler(labels_of_sizes([30, 20]), "uniform", 50), 2)
    assert not torch.equal(stream[:50], stream[50:])
    assert not torch.equal(stream[:50], torch.arange(50))


@pytest.mark.parametrize(("kind", "power"), [("class-balanced", 0.0), ("sqrt", 0.5)])
def test_frequencies_of_classes_and_images(kind, power):
    sizes = torch.tensor([400, 100, 25, 4])
    labels = torch.from_numpy(labels_of_sizes(sizes.tolist()))
    draws = 200_000
    stream = ClassSampler(labels, kind, draws, seed=1).next()
    expected = sizes.double() ** power
    expected /= expected.sum()
    share = labels[stream].bincount().double() / draws
    # Five standard deviations of a binomial share.
    assert ((share - expected).abs() < 5 * (expected * (1 - expected) / draws).sqrt()).all()
    image = stream.bincount(minlength=len(labels)).double()
    mean = (draws * expected / sizes)[labels]
    # Pearson's statistic of the images within their classes: mean and variance of chi-square.
    degrees = len(labels) - 1
    assert abs(float(((image - mean) ** 2 / mean).sum()) - degrees) < 5 * (2 * degrees) ** 0.5


@settings(max_examples=60)
@given(sizes=SIZES, kind=KINDS, batch_size=st.integers(1, 33), seed=st.integers(0, 2**31))
def test_the_stream_does_not_depend_on_the_batch_size(sizes, kind, batch_size, seed):
    labels = labels_of_sizes(sizes)
    at_once = ClassSampler(labels, kind, 5 * batch_size, seed).next()
    sampler = ClassSampler(labels, kind, batch_size, seed)
    batches = [sampler.next() for _ in range(5)]
    assert all(b.dtype == torch.int64 and b.shape == (batch_size,) for b in batches)
    assert torch.equal(torch.cat(batches), at_once)


@settings(max_examples=60)
@given(
    sizes=SIZES, kind=KINDS, batch_size=st.integers(1, 15), before=st.integers(0, 6), other=st.integers(0, 6)
)
def test_a_stream_goes_on_from_its_state(sizes, kind, batch_size, before, other):
    labels = labels_of_sizes(sizes)
    sampler = ClassSampler(labels, kind, batch_size, seed=1)
    drawn_before = [sampler.next() for _ in range(before)]
    assert len(drawn_before) == before
    state = sampler.state()
    after = drawn(sampler, 4)
    resumed = ClassSampler(labels, kind, batch_size, seed=2)
    for _ in range(other):
        resumed.next()
    resumed.load_state(state)
    again = resumed.state()
    assert torch.equal(drawn(resumed, 4), after)
    # A state is a copy: it is not moved by what is drawn later, and its own copy leads to the same.
    resumed.load_state(again)
    assert torch.equal(drawn(resumed, 4), after)


def test_a_state_can_be_saved_without_arbitrary_pickles(tmp_path):
    sampler = ClassSampler(labels_of_sizes([5, 3]), "uniform", 3)
    sampler.next()
    torch.save(sampler.state(), tmp_path / "state.pt")
    after = sampler.next()
    sampler.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(sampler.next(), after)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_seeds_differ_and_the_global_generator_is_left_alone(kind):
    labels = labels_of_sizes([50, 10])
    before = torch.get_rng_state()
    first, same, other = (ClassSampler(labels, kind, 60, seed).next() for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_read_only_labels_are_fine():
    labels = labels_of_sizes([5, 3])
    labels.flags.writeable = False
    assert ClassSampler(labels, "sqrt", 4).next().shape == (4,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], "balanced"), "unknown sampler 'balanced'; did you mean 'class-balanced'"),
        (([0, 1], "uniform", 0), "batch_size must be at least 1, got 0"),
        (([0, 2], "sqrt"), "0 to C-1, each at least once; found 2 values from 0 to 2"),
        (([-1, 0], "sqrt"), "found 2 values from -1 to 0"),
        (([], "uniform"), "must be a list of whole numbers"),
        (([0.0, 1.0], "uniform"), "must be a list of whole numbers"),
        (([[0, 1]], "uniform"), r"got int64 \(1, 2\)"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        ClassSampler(np.array(arguments[0]), *arguments[1:])
