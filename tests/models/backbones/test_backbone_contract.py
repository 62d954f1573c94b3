import inspect
import pickle

import pytest
import torch
from peer_modules import peer

from sla_bench.evaluation.embedding import embed
from sla_bench.models.backbones.base import Backbone
from sla_bench.registry import BACKBONES


def with_its_markers(name):
    marks = [pytest.mark.learn2learn] if BACKBONES[name].needs_learn2learn else []
    return pytest.param(name, marks=[*marks, *([pytest.mark.slow] if name == "l2l-wrn28" else [])])


OWN = sorted(set(BACKBONES) - set(BACKBONES.arguments))
"""Without networks of libraries, which test_pretrained.py tests."""


@pytest.fixture(params=[with_its_markers(name) for name in OWN])
def backbone(request):
    if BACKBONES[request.param].needs_learn2learn:
        peer("learn2learn")
    return BACKBONES.load(request.param)(32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", OWN)
def test_options_are_keywords(name):
    size, *options = inspect.signature(BACKBONES.load(name)).parameters.values()
    assert size.name == "image_size"
    assert all(option.kind is inspect.Parameter.KEYWORD_ONLY for option in options)


def test_every_backbone_embeds_and_trains(backbone):
    assert isinstance(backbone, Backbone)
    backbone.train()
    features = backbone(torch.randn(4, 3, 32, 32))
    assert features.shape == (4, backbone.num_features)
    features.square().sum().backward()
    backbone.advance()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in backbone.parameters())


def test_generator_restarts_from_its_seed(backbone):
    backbone.seed_dropout(7)
    first = torch.rand(3, generator=backbone.generator)
    assert backbone.generator is backbone.generator
    backbone.seed_dropout(7)
    assert torch.equal(torch.rand(3, generator=backbone.generator), first)
    backbone.seed_dropout(8)
    assert not torch.equal(torch.rand(3, generator=backbone.generator), first)


def test_backbone_with_its_generator_goes_to_another_process(backbone):
    torch.rand(3, generator=backbone.generator)
    copy = pickle.loads(pickle.dumps(backbone))
    assert torch.equal(copy.generator.get_state(), backbone.generator.get_state())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(copy.eval()(images), backbone.eval()(images))


class Images:
    """Gives rows of a tensor."""

    def __init__(self, images):
        self.images = images

    def plain(self, index):
        return self.images[index]


def test_embeddings_are_the_features_of_the_plain_network_in_eval_mode(backbone):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        # Batch normalisation has to be something else than the identity for folding to be tested.
        backbone.train()(2 * torch.randn(32, 3, 32, 32, generator=generator) + 1)
        images = torch.randn(6, 3, 32, 32, generator=generator)
        expected = backbone.eval()(images)
    found = embed(backbone, Images(images), torch.arange(6), batch_size=4)[:, 0]
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
