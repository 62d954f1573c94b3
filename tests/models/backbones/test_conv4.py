import math

import pytest
import torch

from sla_bench.errors import UserError
from sla_bench.models.backbones.conv4 import conv4, conv4_32


@pytest.mark.parametrize(
    ("factory", "image_size", "num_features"),
    [
        (conv4, 32, 256),
        (conv4, 28, 64),
        (conv4, 84, 1600),
        (conv4, 16, 64),
        (conv4_32, 32, 128),
        (conv4_32, 28, 32),
        (conv4_32, 84, 800),
    ],
)
def test_features_have_the_announced_length(factory, image_size, num_features):
    backbone = factory(image_size)
    assert backbone.num_features == num_features
    assert backbone(torch.randn(2, 3, image_size, image_size)).shape == (2, num_features)


@pytest.mark.parametrize(("factory", "channels"), [(conv4, 64), (conv4_32, 32)])
def test_parameter_count_is_that_of_four_convolutions_without_bias(factory, channels):
    convolutions = 9 * 3 * channels + 3 * 9 * channels**2
    assert sum(p.numel() for p in factory(32).parameters()) == convolutions + 4 * 2 * channels


def test_a_block_is_convolution_normalisation_relu_pooling():
    torch_generator = torch.Generator().manual_seed(0)
    backbone = conv4(32, generator=torch_generator).double()
    images = torch.randn(5, 3, 32, 32, dtype=torch.float64)
    expected = images
    for weight in [p for p in backbone.parameters() if p.dim() == 4]:
        maps = torch.nn.functional.conv2d(expected, weight, padding=1)
        centred = maps - maps.mean((0, 2, 3), keepdim=True)
        maps = (centred / (maps.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()).relu()
        expected = maps.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    torch.testing.assert_close(backbone(images), expected.flatten(1), rtol=1e-10, atol=1e-10)


def test_weights_come_from_the_generator_and_leave_the_global_one_alone():
    before = torch.get_rng_state()
    first, second, third = (conv4(32, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [backbone.layers[4].weight for backbone in (first, second, third)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert weights[0].std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert abs(weights[0].mean().item()) < 1e-3


def test_without_a_generator_weights_come_from_the_global_one_like_any_module():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = conv4(32)
        torch.manual_seed(5)
        second = conv4(32)
    assert torch.equal(first.layers[0].weight, second.layers[0].weight)


def test_feature_order_does_not_depend_on_the_memory_format():
    backbone = conv4(32, generator=torch.Generator().manual_seed(0)).eval()
    images = torch.randn(3, 3, 32, 32)
    expected = backbone(images)
    channels_last = backbone.to(memory_format=torch.channels_last)
    found = channels_last(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_too_small_images_are_refused():
    with pytest.raises(UserError, match=r"15 px are too small.*at least 16 px"):
        conv4(15)
