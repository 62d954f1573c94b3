import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sla_bench.evaluation.embedding import embed, embed_crops, embed_support_crops, episode_chunks
from sla_bench.models.backbones.base import Backbone
from sla_bench.models.backbones.conv4 import conv4_32
from sla_bench.models.backbones.resnet12 import resnet12


class Images:
    """Gives rows of a tensor and notes what it was asked for."""

    def __init__(self, images):
        self.images = images
        self.asked = []

    def plain(self, index):
        self.asked.append(index.tolist())
        return self.images[index]


def random_images(count, size=32):
    return Images(torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0)))


class QuarterTurns:
    num_views = 4

    def views(self, images):
        return torch.stack([torch.rot90(images, k, (2, 3)) for k in range(4)], dim=1)


@pytest.fixture(scope="module")
def images():
    return random_images(23)


def trained(factory):
    """A backbone whose batch normalisation has seen data and whose dropout is on."""
    backbone = factory(32, generator=torch.Generator().manual_seed(1)).train()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        backbone(2 * torch.randn(64, 3, 32, 32, generator=generator) + 1)
    backbone.advance(40_000)
    return backbone


@pytest.fixture(scope="module", params=[conv4_32, resnet12])
def backbone(request):
    return trained(request.param)


def assert_same(found, expected, tolerance):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def test_one_image_at_a_time_gives_the_same_features(backbone, images):
    index = torch.arange(12)
    together = embed(backbone, images, index, batch_size=12)
    assert_same(embed(backbone, images, index, batch_size=1), together, 1e-5)
    assert_same(embed(backbone, images, index.flip(0), batch_size=5).flip(0), together, 1e-5)


def test_features_are_those_of_the_backbone_in_eval_mode(backbone, images):
    index = torch.tensor([3, 22, 3, 0])
    found = embed(backbone, images, index, batch_size=3)
    assert backbone.training
    with torch.no_grad():
        expected = backbone.eval()(images.images[index])
    backbone.train()
    assert found.dtype == torch.float32
    assert_same(found[:, 0], expected, 1e-5)


def test_views_are_embedded_in_their_order():
    backbone = trained(conv4_32)
    images = random_images(7)
    found = embed(backbone, images, torch.arange(7), QuarterTurns(), batch_size=8)
    assert found.shape == (7, 4, 128)
    for k in range(4):
        turned = Images(torch.rot90(images.images, k, (2, 3)))
        assert_same(found[:, k], embed(backbone, turned, torch.arange(7))[:, 0], 1e-5)


def test_forward_passes_hold_batch_size_rows_and_each_image_is_read_once():
    backbone, images = trained(conv4_32), random_images(23)
    index = torch.randperm(23, generator=torch.Generator().manual_seed(0))
    seen = []
    embed(backbone, images, index, QuarterTurns(), batch_size=41, progress=lambda *news: seen.append(news))
    assert [len(part) for part in images.asked] == [10, 10, 3]
    assert [i for part in images.asked for i in part] == index.tolist()
    assert seen == [(10, 23), (20, 23), (23, 23)]


def test_passes_of_large_images_hold_fewer_rows():
    seen = []

    class Counting(Backbone):
        def __init__(self):
            super().__init__(3)
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, rows):
            seen.append(len(rows))
            return self.scale * rows.mean((2, 3))

    images = random_images(30, 224)
    found = embed(Counting(), images, torch.arange(30), QuarterTurns())
    assert (max(seen), sum(seen)) == (14, 120)
    assert_same(found, images.images.mean((2, 3))[:, None].expand(-1, 4, -1), 1e-4)


def test_bf16_is_near_fp32_but_not_the_same():
    backbone, images = trained(conv4_32), random_images(16)
    exact = embed(backbone, images, torch.arange(16))
    rough = embed(backbone, images, torch.arange(16), precision="bf16")
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert_same(rough, exact, 0.05)
    assert next(backbone.parameters()).dtype == torch.float32


def test_heads_with_trained_parameters_may_use_the_embeddings():
    embeddings = embed(trained(conv4_32), random_images(2), torch.arange(2))
    scale = nn.Parameter(torch.ones(()))
    (embeddings * scale).sum().backward()
    assert scale.grad == pytest.approx(embeddings.sum().item(), rel=1e-4)
    assert not embeddings.requires_grad


def test_nothing_random_is_drawn_and_the_backbone_is_unchanged(backbone, images):
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    own, world = backbone.generator.get_state(), torch.get_rng_state()
    first = embed(backbone, images, torch.arange(4))
    assert torch.equal(embed(backbone, images, torch.arange(4)), first)
    assert torch.equal(backbone.generator.get_state(), own)
    assert torch.equal(torch.get_rng_state(), world)
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    assert all(module.training for module in backbone.modules())


class Mean(Backbone):
    """The mean of each channel: a feature that can be computed by hand."""

    def __init__(self):
        super().__init__(num_features=3)
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, images):
        return self.factor * images.mean((2, 3))


def test_any_backbone_will_do():
    images = random_images(5, size=8)
    found = embed(Mean(), images, torch.tensor([4, 1]))
    torch.testing.assert_close(found[:, 0], 2 * images.images[[4, 1]].mean((2, 3)))


@settings(max_examples=40)
@given(
    st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.data()
)
def test_chunks_are_plain_indexing_within_the_limit(episodes, support, query, views, features, data):
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 100)))
    embeddings = torch.rand(20, views, features, generator=generator)
    support_index = torch.randint(20, (episodes, support), generator=generator)
    query_index = torch.randint(20, (episodes, query), generator=generator)
    per_episode = (support + query) * views * features * 4
    limit = data.draw(st.integers(1, 4 * per_episode))
    chunks = list(episode_chunks(embeddings, support_index, query_index, chunk_bytes=limit))
    covered = [t for chunk in chunks for t in range(episodes)[chunk.episodes]]
    assert covered == list(range(episodes))
    for chunk in chunks:
        count = chunk.episodes.stop - chunk.episodes.start
        assert count == 1 or count * per_episode <= limit
        assert torch.equal(chunk.support, embeddings[support_index[chunk.episodes]])
        assert torch.equal(chunk.query, embeddings[query_index[chunk.episodes]])
    if limit >= episodes * per_episode:
        assert len(chunks) == 1


def test_supports_may_have_several_embeddings_which_stand_together():
    embeddings, supports = torch.rand(6, 2, 3), torch.rand(6, 4, 2, 3)
    support_index, query_index = torch.tensor([[5, 1], [0, 2]]), torch.tensor([[3], [4]])
    chunks = list(episode_chunks(embeddings, support_index, query_index, supports, chunk_bytes=1))
    assert len(chunks) == 2
    for t, chunk in enumerate(chunks):
        first, second = supports[support_index[t]]
        assert torch.equal(chunk.support[0], torch.cat([first, second]))
        assert torch.equal(chunk.query[0], embeddings[query_index[t]])


def test_crops_of_supports_are_the_views_of_what_the_seed_draws(backbone, images):
    class Shifted(Images):
        def augmented(self, index, generator):
            return self.images[index] + torch.rand(len(index), 1, 1, 1, generator=generator)

    batches, index = Shifted(images.images), torch.arange(6)
    found = embed_support_crops(backbone, batches, index, QuarterTurns(), 2, seed=7)
    generator = torch.Generator().manual_seed(7)
    for k in range(2):
        crop = batches.augmented(index, generator)
        assert_same(found[:, k], embed(backbone, Images(crop), index, QuarterTurns()), 1e-6)


def test_crops_are_the_image_as_it_is_and_what_the_seed_draws(backbone, images):
    class Shifted(Images):
        def augmented(self, index, generator):
            return self.images[index] + torch.rand(len(index), 1, 1, 1, generator=generator)

    batches, index = Shifted(images.images), torch.arange(6)
    found = embed_crops(backbone, batches, index, 3, seed=7)
    generator = torch.Generator().manual_seed(7)
    crops = [batches.plain(index), *(batches.augmented(index, generator) for _ in range(2))]
    for j, crop in enumerate(crops):
        assert_same(found[:, j], embed(backbone, Images(crop), index)[:, 0], 1e-6)
