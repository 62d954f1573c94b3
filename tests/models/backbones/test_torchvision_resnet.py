import math

import pytest
import torch
import torchvision
from torch import nn

from sla_bench.models.backbones.torchvision_resnet import resnet18, resnet50

PAIRS = [(resnet18, torchvision.models.resnet18), (resnet50, torchvision.models.resnet50)]


def seeded(factory=resnet18, seed=0):
    return factory(32, generator=torch.Generator().manual_seed(seed))


def without_classifier(theirs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = theirs(weights=None)
    network.fc = nn.Identity()
    return network


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_names_and_values_are_interchangeable_with_torchvisions(ours, theirs):
    backbone, network = seeded(ours), without_classifier(theirs)
    assert list(backbone.state_dict()) == list(network.state_dict())
    backbone.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):
        torch.testing.assert_close(backbone.train(mode)(images), network.train(mode)(images))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_all_that_is_not_a_convolution_starts_like_torchvisions(ours, theirs):
    state, expected = seeded(ours).state_dict(), without_classifier(theirs).state_dict()
    others = [name for name, value in state.items() if value.dim() != 4]
    assert len(others) == 5 * sum(value.dim() == 4 for value in state.values())
    assert all(torch.equal(state[name], expected[name]) for name in others)


@pytest.mark.parametrize("factory", [resnet18, resnet50])
def test_convolutions_start_with_the_variance_of_fan_out(factory):
    for weight in [p for p in seeded(factory).parameters() if p.dim() == 4]:
        out, _, height, width = weight.shape
        expected = math.sqrt(2 / (out * height * width))
        assert weight.std().item() == pytest.approx(expected, rel=4.5 / math.sqrt(2 * weight.numel()))


def test_weights_depend_on_the_generator_alone():
    with torch.random.fork_rng():
        states = []
        for world, seed in ((1, 1), (2, 1), (2, 2)):
            torch.manual_seed(world)
            before = torch.get_rng_state()
            states.append(seeded(seed=seed).state_dict())
            assert torch.equal(torch.get_rng_state(), before)
    first, second, third = states
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], third["conv1.weight"])


def test_without_a_generator_weights_come_from_the_global_one_like_any_module():
    with torch.random.fork_rng():
        weights = []
        for world in (5, 5, 6):
            torch.manual_seed(world)
            weights.append(resnet18(32).conv1.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("image_size", [8, 28, 84])
@pytest.mark.parametrize(("factory", "num_features"), [(resnet18, 512), (resnet50, 2048)])
def test_features_have_the_announced_length(factory, num_features, image_size):
    backbone = factory(image_size)
    assert backbone.num_features == num_features
    assert backbone(torch.randn(2, 3, image_size, image_size)).shape == (2, num_features)
