import math

import pytest
import torch
import torch.nn.functional as F

from sla_bench.errors import UserError
from sla_bench.evaluation.embedding import fold
from sla_bench.models.backbones.airbench import airbench, whitening_filters


def correlated_images(count=40, size=32, channels=3):
    """Neighbouring pixels and colours go together, more so from left to right than from top to bottom."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, channels, size, size, generator=generator)
    smooth = noise + 0.9 * noise.roll(1, 3) + 0.2 * noise.roll(1, 2)
    return (smooth + 0.5 * smooth.mean(1, keepdim=True)).expand(-1, 3, -1, -1)


def orientations(images):
    return [torch.rot90(of, turns, (2, 3)) for turns in range(4) for of in (images, images.flip(3))]


def test_responses_over_all_orientations_are_uncorrelated_with_variance_one():
    images = correlated_images()
    filters = whitening_filters([images])
    responses = [F.conv2d(of, filters[:12]).permute(0, 2, 3, 1).flatten(0, 2) for of in orientations(images)]
    responses = torch.cat(responses).double()
    torch.testing.assert_close(
        responses.T @ responses / len(responses), torch.eye(12, dtype=torch.float64), atol=3e-3, rtol=0
    )
    assert torch.equal(filters[12:], -filters[:12])


def test_filters_do_not_prefer_an_orientation():
    images = correlated_images()
    filters = whitening_filters([images])
    for turned in orientations(images):
        torch.testing.assert_close(whitening_filters([turned]), filters, rtol=1e-4, atol=1e-5)


def test_a_turned_image_gives_the_turned_responses_under_other_names():
    images = correlated_images(4)
    filters = whitening_filters([images])
    upright = F.conv2d(images, filters)
    turned = torch.rot90(F.conv2d(torch.rot90(images, 1, (2, 3)), filters), -1, (2, 3))
    distance = (upright[:, :, None] - turned[:, None]).abs().amax((0, 3, 4))
    partners = distance.argmin(1)
    assert sorted(partners.tolist()) == list(range(24))
    assert distance.gather(1, partners[:, None]).max() < 1e-4


def test_filters_are_the_same_whether_images_come_at_once_or_in_parts():
    images = correlated_images()
    torch.testing.assert_close(whitening_filters(images.split(7)), whitening_filters([images]))


def test_grey_images_are_whitened_too():
    filters = whitening_filters([correlated_images(channels=1)])
    assert filters.isfinite().all()
    responses = F.conv2d(correlated_images(channels=1), filters[:12])
    assert (responses.square().mean((0, 2, 3)) > 0.1).sum() == 4


@pytest.mark.parametrize(
    ("size", "width", "features"), [(28, 0.5, 128), (32, 1, 256), (84, 0.5, 128), (28, 1 / 64, 4)]
)
def test_features_have_the_announced_length(size, width, features):
    backbone = airbench(size, width=width)
    assert backbone.num_features == features
    assert backbone(torch.randn(2, 3, size, size)).shape == (2, features)


def test_parameter_count_at_full_width():
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    assert sum(p.numel() for p in airbench(32, width=1).parameters()) == convolutions + 2 * 2 * 576 + 24


def test_a_convolution_starts_by_handing_its_input_on():
    convolution = airbench(32).groups[1].conv2
    maps = torch.randn(2, convolution.in_channels, 5, 5)
    torch.testing.assert_close(convolution(maps)[:, : convolution.in_channels], maps)


def test_whitening_is_frozen_and_part_of_the_state():
    backbone = airbench(32)
    backbone.start_from([correlated_images()])
    assert "whitening" in backbone.state_dict()
    assert "whitening" not in dict(backbone.named_parameters())
    other = airbench(32)
    other.load_state_dict(backbone.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(other.eval()(images), backbone.eval()(images))


def test_folding_leaves_normalisation_behind_pooling_alone():
    backbone = airbench(32)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn(parameter.shape))
        backbone(torch.randn(16, 3, 32, 32))
        images = torch.randn(3, 3, 32, 32)
        torch.testing.assert_close(fold(backbone)(images), backbone.eval()(images), rtol=1e-4, atol=1e-4)


def test_too_small_images_are_refused():
    with pytest.raises(UserError, match=r"27 px are too small.*at least 28 px"):
        airbench(27)


@pytest.mark.parametrize("width", [0.01, 0, -1, math.inf, math.nan])
def test_a_width_without_channels_is_refused(width):
    with pytest.raises(UserError, match=r"backbone.width=.* leaves no channel"):
        airbench(32, width=width)
