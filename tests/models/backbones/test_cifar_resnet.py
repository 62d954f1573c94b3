import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.models.backbones.cifar_resnet import (
    BasicBlock,
    resnet8,
    resnet20_ldam,
    resnet20_sla,
    resnet32_ldam,
    resnet32_sla,
)

LDAM = [resnet20_ldam, resnet32_ldam]
SLA = [resnet8, resnet20_sla, resnet32_sla]
BLOCKS = {resnet8: 1, resnet20_ldam: 3, resnet20_sla: 3, resnet32_ldam: 5, resnet32_sla: 5}


def seeded(factory, image_size=32, seed=0):
    return factory(image_size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("factory", "with_classifier"),
    # He et al. 2016, table 6: 0.27M and 0.46M; ten classes add 64 * 10 + 10.
    [(resnet20_ldam, 269_722), (resnet20_sla, 269_722), (resnet32_ldam, 464_154), (resnet32_sla, 464_154)],
)
def test_parameter_count_is_the_published_one(factory, with_classifier):
    assert sum(p.numel() for p in factory(32).parameters()) == with_classifier - 650


@pytest.mark.parametrize("factory", BLOCKS)
def test_parameter_count_is_that_of_the_convolutions_and_their_normalisation(factory):
    n = BLOCKS[factory]
    widths = [16] * (2 * n + 1) + [32] * 2 * n + [64] * 2 * n
    inputs = [3, *widths[:-1]]
    expected = sum(9 * before * after + 2 * after for before, after in zip(inputs, widths, strict=True))
    backbone = factory(32)
    assert sum(p.numel() for p in backbone.parameters()) == expected
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) + 1 == int(factory.__name__.removeprefix("resnet").partition("_")[0])


@pytest.mark.parametrize("image_size", [8, 9, 28, 32, 84])
@pytest.mark.parametrize("factory", [resnet8, resnet20_ldam])
def test_features_have_the_announced_length(factory, image_size):
    backbone = factory(image_size)
    assert backbone.num_features == 64
    assert backbone(torch.randn(2, 3, image_size, image_size)).shape == (2, 64)


@pytest.mark.parametrize("image_size", [8, 13])
@pytest.mark.parametrize("factory", BLOCKS)
def test_whole_network_by_hand(factory, image_size):
    backbone = seeded(factory, image_size).double()
    images = torch.randn(3, 3, image_size, image_size, dtype=torch.float64)
    weights = iter([p for p in backbone.parameters() if p.dim() == 4])

    def conv_norm(maps, stride=1):
        maps = F.conv2d(maps, next(weights), stride=stride, padding=1)
        centred = maps - maps.mean((0, 2, 3), keepdim=True)
        return centred / (maps.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()

    maps = conv_norm(images).relu()
    for channels in (16, 32, 64):
        for _ in range(BLOCKS[factory]):
            shortcut, stride = maps, 1
            if maps.shape[1] != channels:
                small, stride = maps[:, :, ::2, ::2], 2
                zeros = torch.zeros_like(small)
                half = zeros[:, : channels // 4]
                parts = [half, small, half] if factory in LDAM else [small, zeros]
                shortcut = torch.cat(parts, 1)
            maps = (conv_norm(conv_norm(maps, stride).relu()) + shortcut).relu()
    torch.testing.assert_close(backbone(images), maps.mean((2, 3)), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("zeros_before", "order"), [(0, [1, 2, 0, 0]), (1, [0, 1, 2, 0])])
def test_shortcut_takes_every_other_pixel_and_pads_the_channels(zeros_before, order):
    block = BasicBlock(2, 4, zeros_before)
    # Channel c holds c + 1 on even rows and columns and something else everywhere else.
    features = torch.full((1, 2, 5, 5), 9.0)
    features[0, :, ::2, ::2] = torch.tensor([1.0, 2.0])[:, None, None]
    expected = torch.tensor(order, dtype=torch.float32)[None, :, None, None].expand(1, 4, 3, 3)
    assert torch.equal(block.shortcut(features), expected)


def test_zero_channels_are_on_both_sides_in_ldam_drw_and_last_in_sla():
    def padding(factory):
        return [block.padding for block in factory(32).blocks if block.stride == 2]

    for factory in LDAM:
        assert padding(factory) == [(8, 8), (16, 16)]
    for factory in SLA:
        assert padding(factory) == [(0, 16), (0, 32)]


@pytest.mark.parametrize("factory", BLOCKS)
def test_initial_weights_have_the_variance_of_their_variant(factory):
    for weight in [p for p in seeded(factory).parameters() if p.dim() == 4]:
        channels = weight.shape[1 if factory in LDAM else 0]
        expected = math.sqrt(2 / (9 * channels))
        assert weight.std().item() == pytest.approx(expected, rel=4.5 / math.sqrt(2 * weight.numel()))


def test_weights_come_from_the_generator_and_leave_the_global_one_alone():
    before = torch.get_rng_state()
    first, second, third = (seeded(resnet8, seed=seed).stem[0].weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("factory", [resnet8, resnet20_ldam])
def test_every_activation_and_gradient_stays_channels_last(factory):
    """A layer that left the memory format would make all layers before and after it convert."""
    backbone = seeded(factory, 16).train()
    kept = []

    def note(values):
        kept.append(values.is_contiguous(memory_format=torch.channels_last))

    def hook(_module, _inputs, output):
        note(output)
        output.register_hook(note)

    layers = [m for m in backbone.modules() if isinstance(m, BasicBlock | nn.Conv2d)]
    for layer in layers:
        layer.register_forward_hook(hook)
    images = torch.randn(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    backbone(images).square().sum().backward()
    assert len(kept) == 2 * len(layers)
    assert all(kept)


def test_too_small_images_are_refused():
    with pytest.raises(UserError, match=r"7 px are too small.*at least 8 px"):
        resnet32_sla(7)
