from pathlib import Path

import pytest
import torch
from peer_modules import peer
from torch import nn

from sla_bench.errors import UserError
from sla_bench.evaluation.embedding import fold
from sla_bench.registry import BACKBONES

l2l = peer("learn2learn")
pytestmark = pytest.mark.learn2learn

DOCS = Path(__file__).parents[3] / "docs" / "models.md"


def built(name, size=84, **options):
    return BACKBONES.load(name)(size, generator=torch.Generator().manual_seed(0), **options)


def theirs(name):
    models = l2l.vision.models
    return {
        "l2l-cnn4": lambda: models.CNN4Backbone(hidden_size=64),
        "l2l-resnet12": lambda: models.ResNet12Backbone(avg_pool=True),
        "l2l-wrn28": lambda: models.WRN28Backbone(),
    }[name]()


NAMES = ["l2l-cnn4", "l2l-resnet12", pytest.param("l2l-wrn28", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", NAMES)
def test_at_84_px_it_computes_what_learn2learn_computes_with_its_own_names(name):
    ours, other = built(name).eval(), theirs(name).eval()
    other.load_state_dict(ours.network.state_dict())
    images = torch.randn(1, 3, 84, 84, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), other(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "features"),
    [
        ("l2l-cnn4", {}, 256),
        ("l2l-cnn4", {"channels": 32}, 128),
        ("l2l-resnet12", {}, 640),
        ("l2l-resnet12", {"avg_pool": False}, 2560),
    ],
)
def test_number_of_features_at_32_px(name, options, features):
    backbone = built(name, 32, **options)
    assert backbone.num_features == features
    assert backbone(torch.randn(2, 3, 32, 32)).shape == (2, features)


@pytest.mark.parametrize("name", ["l2l-cnn4", "conv4", "l2l-resnet12", "resnet12", "l2l-wrn28"])
def test_parameter_counts_are_those_of_the_docs(name):
    _, part = DOCS.read_text().split("## learn2learn's networks")
    cells = [cell.strip() for line in part.splitlines() for cell in line.split("|")]
    counted = sum(p.numel() for p in built(name, 32).parameters())
    assert cells[cells.index(f"`{name}`") + 1] == f"{counted:,}"


@pytest.mark.parametrize(("name", "left"), [("l2l-cnn4", 0), ("l2l-resnet12", 0), ("l2l-wrn28", 13)])
def test_normalisation_is_folded_where_a_convolution_comes_before_it(name, left):
    folded = fold(built(name, 32))
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == left


@pytest.mark.parametrize("name", ["l2l-resnet12", "l2l-cnn4"])
def test_initial_weights_come_from_the_generator(name):
    before = torch.random.get_rng_state()
    first, second = built(name, 32).state_dict(), built(name, 32).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = BACKBONES.load(name)(32, generator=torch.Generator().manual_seed(1)).state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_draws_from_the_networks_own_generator():
    backbone = built("l2l-resnet12", 32, drop_rate=0.3).train()
    backbone.advance(40_000)
    images = torch.randn(2, 3, 32, 32)
    before = torch.random.get_rng_state()
    found = []
    for _ in range(2):
        backbone.seed_dropout(5)
        found.append(backbone(images).detach())
    assert torch.equal(*found)
    assert not torch.equal(backbone(images), found[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_longer_training_stretches_the_ramp_of_dropblock():
    backbone = built("l2l-resnet12", 32, drop_rate=0.3).train()
    backbone.stretch(4)
    backbone.advance(28)
    backbone(torch.randn(2, 3, 32, 32))
    # The forward pass itself counts one more.
    assert backbone.network.layer4[0].num_batches_tracked == 28 // 4 + 1


def test_dropblock_follows_training_steps_not_forward_passes():
    backbone = built("l2l-resnet12", 32, drop_rate=0.3).train()
    block = backbone.network.layer4[0]
    backbone.advance(7)
    for _ in range(3):
        backbone(torch.randn(2, 3, 32, 32))
        assert block.num_batches_tracked == 8
    again = built("l2l-resnet12", 32, drop_rate=0.3)
    again.load_state_dict(backbone.state_dict())
    assert int(again.training_steps) == 7


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("l2l-cnn4", {"channels": 0}, "channels must be a whole number"),
        ("l2l-resnet12", {"drop_rate": 1.0}, "drop_rate must be a number in"),
        ("l2l-resnet12", {"block_size": 3}, "block_size must be a whole number from 1 to 2"),
        ("l2l-wrn28", {"drop_rate": -0.1}, "drop_rate must be a number in"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(UserError, match=message):
        BACKBONES.load(name)(32, **options)


@pytest.mark.parametrize("name", ["l2l-cnn4", "l2l-resnet12"])
def test_images_that_are_too_small_are_refused(name):
    with pytest.raises(UserError, match="too small"):
        BACKBONES.load(name)(15)
