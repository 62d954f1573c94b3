import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sla_bench.models.backbones.resnet12 import dropblock, dropout


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_dropout_keeps_the_expected_share_and_the_mean():
    features = torch.ones(64, 16, 16, 16)
    dropped = dropout(features, 0.1, generator())
    kept = dropped != 0
    assert kept.float().mean().item() == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / features.numel()))
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / 0.9))


@pytest.mark.parametrize(("size", "block_size"), [(4, 2), (10, 5), (5, 5), (7, 3), (6, 1)])
def test_dropblock_drops_the_share_that_independent_corners_imply(size, block_size):
    rate, maps = 0.1, 20_000
    features = torch.ones(maps // 40, 40, size, size)
    corners = size - block_size + 1
    gamma = rate * size**2 / block_size**2 / corners**2
    reach = [min(i + 1, block_size, corners, size - i) for i in range(size)]
    survival = torch.tensor([[(1 - gamma) ** (r * c) for c in reach] for r in reach])
    kept = (dropblock(features, rate, block_size, generator()) != 0).float().mean((0, 1))
    error = (survival * (1 - survival) / maps).sqrt()
    assert ((kept - survival).abs() < 5 * error).all()
    # Overlaps only ever lower what is dropped below the nominal rate.
    assert 1 - survival.mean().item() <= rate + 1e-6


@settings(max_examples=40)
@given(st.integers(1, 8), st.integers(1, 8), st.floats(0, 0.9), st.integers(0, 1000))
def test_every_dropped_value_lies_in_a_dropped_block_inside_the_map(block_size, extra, rate, seed):
    size = block_size + extra - 1
    features = torch.rand(2, 3, size, size, generator=generator(seed)) + 1
    zero = dropblock(features, rate, block_size, generator(seed + 1)) == 0
    whole_blocks = zero.unfold(2, block_size, 1).unfold(3, block_size, 1).all(-1).all(-1)
    rebuilt = torch.zeros_like(zero)
    for i in range(block_size):
        for j in range(block_size):
            corners = size - block_size + 1
            rebuilt[:, :, i : i + corners, j : j + corners] |= whole_blocks
    assert torch.equal(rebuilt, zero)


def test_dropblock_rescales_by_the_share_kept_in_the_batch():
    features = torch.rand(8, 16, 10, 10, generator=generator()) + 1
    dropped = dropblock(features, 0.3, 3, generator())
    kept = dropped != 0
    scale = features.numel() / kept.sum()
    assert scale > 1.1
    torch.testing.assert_close(dropped[kept], features[kept] * scale)


def test_dropblock_at_rate_zero_changes_nothing():
    features = torch.randn(2, 3, 5, 5)
    assert torch.equal(dropblock(features, torch.tensor(0.0), 5, generator()), features)


def test_dropblock_that_drops_everything_gives_zeros_and_not_nan():
    features = torch.ones(1, 1, 2, 2)
    found = {dropblock(features, 0.9, 2, generator(seed)).sum().item() for seed in range(20)}
    assert found == {0.0, 4.0}


@pytest.mark.parametrize("drop", [dropout, lambda x, r, g: dropblock(x, r, 2, g)])
def test_gradient_flows_through_kept_values_only_and_types_are_kept(drop):
    features = torch.randn(2, 4, 6, 6, dtype=torch.bfloat16, requires_grad=True)
    dropped = drop(features, 0.4, generator())
    dropped.sum().backward()
    assert dropped.dtype == torch.bfloat16
    assert torch.equal(features.grad == 0, dropped == 0)
    assert (features.grad == 0).any()
    assert (features.grad != 0).any()
