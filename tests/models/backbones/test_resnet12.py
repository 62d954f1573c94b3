import itertools
import math

import pytest
import torch

from sla_bench.errors import UserError
from sla_bench.models.backbones.resnet12 import resnet12, resnet12_avgpool

CHANNELS = (3, 64, 160, 320, 640)


@pytest.fixture(scope="module")
def images():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def seeded(factory=resnet12, image_size=32, **options):
    backbone = factory(image_size, generator=torch.Generator().manual_seed(0), **options)
    backbone.seed_dropout(0)
    return backbone


def test_parameter_count():
    count = sum(
        9 * before * after + 2 * 9 * after**2 + before * after + 4 * 2 * after
        for before, after in itertools.pairwise(CHANNELS)
    )
    assert count == 12_424_320
    for factory in (resnet12, resnet12_avgpool):
        assert sum(p.numel() for p in factory(32).parameters()) == count


@pytest.mark.parametrize(
    ("factory", "image_size", "num_features"),
    [
        (resnet12, 32, 2560),
        (resnet12, 84, 16000),
        (resnet12, 28, 640),
        (resnet12_avgpool, 32, 640),
        (resnet12_avgpool, 84, 640),
    ],
)
def test_features_have_the_announced_length(factory, image_size, num_features):
    backbone = factory(image_size)
    assert backbone.num_features == num_features
    assert backbone(torch.randn(1, 3, image_size, image_size)).shape == (1, num_features)


def test_average_pooling_averages_the_flat_features(images):
    flat, pooled = seeded(resnet12).eval(), seeded(resnet12_avgpool).eval()
    expected = flat(images).view(4, 640, 4).mean(2)
    torch.testing.assert_close(pooled(images), expected)


def test_first_block_by_hand():
    block = seeded().double().blocks[0]
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)

    def conv_norm(maps, weight):
        maps = torch.nn.functional.conv2d(maps, weight, padding=weight.shape[2] // 2)
        centred = maps - maps.mean((0, 2, 3), keepdim=True)
        return centred / (maps.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()

    def leaky(maps):
        return torch.where(maps > 0, maps, 0.1 * maps)

    first, second, third, shortcut = (p for p in block.parameters() if p.dim() == 4)
    assert shortcut.shape == (64, 3, 1, 1)
    maps = conv_norm(leaky(conv_norm(leaky(conv_norm(images, first)), second)), third)
    expected = leaky(maps + conv_norm(images, shortcut)).unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    torch.testing.assert_close(block(images), expected, rtol=1e-9, atol=1e-9)


def test_initial_weights_have_the_variance_of_fan_out():
    for block in seeded().blocks:
        for weight in [p for p in block.parameters() if p.dim() == 4]:
            out, _, height, width = weight.shape
            expected = math.sqrt(2 / (out * height * width))
            assert weight.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * weight.numel()))


@pytest.mark.parametrize(
    ("image_size", "block_sizes"), [(32, (2, 2)), (84, (5, 5)), (28, (2, 1)), (64, (5, 4)), (16, (2, 1))]
)
def test_default_block_sizes_fit_the_maps(image_size, block_sizes):
    assert resnet12(image_size).block_sizes[2:] == block_sizes


def test_a_longer_training_stretches_the_ramp_of_drop_block():
    usual, stretched = seeded(drop_block_steps=100), seeded(drop_block_steps=100)
    stretched.stretch(4)
    usual.advance(25)
    stretched.advance(100)
    assert stretched.drop_block_rate.item() == pytest.approx(usual.drop_block_rate.item()) == 0.025


def test_drop_block_rate_grows_with_training_steps_and_nothing_else(images):
    backbone = seeded(drop_rate=0.2, drop_block_steps=100).train()
    assert backbone.drop_block_rate.item() == 0
    backbone(images)
    backbone(images)
    assert backbone.drop_block_rate.item() == 0
    backbone.advance()
    assert backbone.drop_block_rate.item() == pytest.approx(0.002)
    backbone.advance(49)
    assert backbone.drop_block_rate.item() == pytest.approx(0.1)
    backbone.advance(1000)
    assert backbone.drop_block_rate.item() == pytest.approx(0.2)


def test_default_schedule_is_metaoptnets():
    backbone = resnet12(32)
    backbone.advance(20_000)
    assert backbone.drop_block_rate.item() == pytest.approx(0.05)
    backbone.advance(20_000)
    assert backbone.drop_block_rate.item() == pytest.approx(0.1)


def test_schedule_and_random_numbers_survive_a_resume(images):
    backbone = seeded(drop_block_steps=10).train()
    for _ in range(3):
        backbone(images)
        backbone.advance()
    state, random_state = backbone.state_dict(), backbone.generator.get_state()
    resumed = resnet12(32, drop_block_steps=10)
    resumed.load_state_dict(state)
    resumed.generator.set_state(random_state)
    assert resumed.drop_block_rate.item() == pytest.approx(0.03)
    assert torch.equal(resumed(images), backbone(images))


@pytest.mark.parametrize(("training_steps", "dropping"), [(0, "dropout"), (10, "dropout and DropBlock")])
def test_dropout_draws_from_its_own_generator_only(images, training_steps, dropping):
    backbone = seeded(drop_block_steps=10).train()
    backbone.advance(training_steps)
    before = torch.get_rng_state()
    first, second = backbone(images), backbone(images)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, second), dropping
    backbone.seed_dropout(0)
    assert torch.equal(backbone(images), first)
    backbone.seed_dropout(1)
    assert not torch.equal(backbone(images), first)


def test_drop_block_zeroes_whole_maps_where_the_block_is_the_map(images):
    backbone = seeded(drop_rate=0.3, drop_block_steps=1).train()
    share_before = (backbone(images) == 0).float().mean()
    backbone.advance()
    zero = (backbone(images) == 0).view(4, 640, 4)
    assert share_before == 0
    assert torch.equal(zero.any(2), zero.all(2))
    assert zero.float().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 2560))


def test_evaluation_drops_nothing_and_draws_nothing(images):
    backbone = seeded(drop_block_steps=1)
    backbone.advance()
    backbone.eval()
    before = backbone.generator.get_state()
    without = seeded(drop_rate=0.0).eval()
    assert torch.equal(backbone(images), without(images))
    assert torch.equal(backbone.generator.get_state(), before)


def test_rate_zero_switches_both_off_in_training(images):
    backbone = seeded(drop_rate=0.0, drop_block_steps=1).train()
    backbone.advance()
    assert torch.equal(backbone(images), backbone(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_rate": 1.0}, "drop_rate must be a number from 0 to below 1, got 1.0"),
        ({"drop_rate": -0.1}, "drop_rate must be a number from 0"),
        ({"drop_rate": "much"}, "drop_rate must be a number .* got 'much'"),
        ({"block_size": 2.5}, "block_size must be a whole number .* got 2.5"),
        ({"drop_block_steps": 1.5}, "drop_block_steps must be a whole number from 1, got 1.5"),
        ({"block_size": 5}, "block_size must be a whole number from 1 to 4 .*32-px images.*, got 5"),
        ({"block_size": 0}, "block_size must be a whole number from 1 to 4"),
        ({"drop_block_steps": 0}, "drop_block_steps must be a whole number from 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        resnet12(32, **options)


def test_too_small_images_are_refused():
    with pytest.raises(UserError, match="8 px are too small"):
        resnet12(8)
