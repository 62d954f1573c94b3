import pytest
import torch

from sla_bench.models.backbones.map_mixing import MapMixing
from sla_bench.registry import BACKBONES


@pytest.fixture
def mixing():
    backbone = BACKBONES.load("conv4-32")(16, generator=torch.Generator().manual_seed(0)).eval()
    return MapMixing(backbone, 2)


@pytest.mark.parametrize("place", range(5))
def test_the_first_image_of_each_is_mixed_at_the_place_and_the_others_pass_as_they_are(mixing, place):
    images, layers = torch.randn(6, 3, 16, 16), mixing.backbone.layers
    mixing.partners, mixing.share, mixing.place = torch.tensor([2, 0, 1]), 0.25, place
    before = images.clone()
    found = mixing(images)
    assert torch.equal(images, before)
    # A stage of this backbone has four layers.
    maps = layers[: 4 * place](images)
    mixed = torch.stack([0.25 * maps[2 * b] + 0.75 * maps[2 * other] for b, other in enumerate((2, 0, 1))])
    torch.testing.assert_close(found[::2], layers[4 * place :](mixed).flatten(1))
    torch.testing.assert_close(found[1::2], mixing.backbone(images)[1::2])


def test_alone_it_is_the_backbone(mixing):
    images = torch.randn(4, 3, 16, 16)
    mixing.partners, mixing.share, mixing.place = torch.tensor([1, 0]), 1.0, 2
    torch.testing.assert_close(mixing(images), mixing.backbone(images))


def test_draws_follow_the_generator_and_reach_every_place(mixing):
    def drawn():
        generator, found = torch.Generator().manual_seed(3), []
        for _ in range(300):
            mixing.draw(5, generator)
            assert sorted(mixing.partners.tolist()) == list(range(5))
            found.append((mixing.place, mixing.share))
        return found

    found = drawn()
    assert found == drawn()
    assert {place for place, _ in found} == set(range(5))
    shares = torch.tensor([share for _, share in found])
    # Beta(2, 2): mean 1/2, variance 1/20.
    assert 0 < shares.min() < shares.max() < 1
    assert abs(float(shares.mean()) - 0.5) < 0.05
    assert abs(float(shares.var()) - 0.05) < 0.012
