"""learn2learn's tasks and our episodes: same images, same accuracy."""

import random

import numpy as np
import pytest
import torch
from peer_modules import peer

import sla_bench
from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.errors import UserError
from sla_bench.training.episodes import EpisodeSampler, fixed_episodes

pytestmark = pytest.mark.learn2learn
l2l = peer("learn2learn")
transforms = l2l.data.transforms
PLAIN = ImageProperties(size=6, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture
def images():
    """Seven classes of 9 to 15 images; a pixel tells which image it is."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(7), np.arange(9, 16)))
    pixels = np.zeros((len(labels), 6, 6, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(len(labels))
    return LabeledImages(pixels, labels.astype(np.int64), tuple("abcdefg"))


def positions(batch):
    return (batch[:, 0, 0, 0] * 255).round().long()


def standard_tasks(meta, ways=3, samples=5, **options):
    steps = [transforms.NWays(meta, ways), transforms.KShots(meta, samples), transforms.LoadData(meta)]
    steps += [transforms.RemapLabels(meta), transforms.ConsecutiveLabels(meta)]
    return l2l.data.Taskset(meta, steps, **options)


@pytest.mark.parametrize("flat", [False, True])
def test_a_taskset_has_exactly_our_episodes(images, flat):
    episodes = EpisodeSampler(images.labels, 4, 2, 3, seed=1).sample(5)
    given = episodes.flatten(torch.Generator().manual_seed(2)) if flat else episodes
    taskset = sla_bench.to_taskset(images, given, PLAIN)
    assert len(taskset) == 5
    for number in (3, 0, 4, 1, 2):
        batch, labels = taskset[number]
        assert labels.tolist() == np.repeat(np.arange(4), 5).tolist()
        (support, ours), (query, theirs) = l2l.data.partition_task(batch, labels, shots=2)
        assert ours.tolist() == np.repeat(np.arange(4), 2).tolist()
        assert theirs.tolist() == np.repeat(np.arange(4), 3).tolist()
        assert positions(support).tolist() == episodes.support[number].flatten().tolist()
        found = positions(query).view(4, 3).sort().values
        assert torch.equal(found, episodes.query[number].sort().values)
    assert len(list(taskset)) == 5


def test_support_at_even_places_for_code_written_like_the_examples_of_maml(images):
    episodes = EpisodeSampler(images.labels, 3, 2, 2, seed=1).sample(2)
    taskset = sla_bench.to_taskset(images, episodes, PLAIN, adaptation="even")
    for number in range(2):
        batch, _ = taskset[number]
        adapts = np.zeros(len(batch), dtype=bool)
        adapts[np.arange(2 * 3) * 2] = True
        assert positions(batch[adapts]).tolist() == episodes.support[number].flatten().tolist()
        assert positions(batch[~adapts]).tolist() == episodes.query[number].flatten().tolist()
    unequal = EpisodeSampler(images.labels, 3, 1, 2).sample(1)
    with pytest.raises(UserError, match="1 shots and 2 queries"):
        sla_bench.to_taskset(images, unequal, adaptation="even")


@pytest.mark.parametrize("adaptation", ["first", "even"])
def test_there_and_back_are_the_same_episodes(images, adaptation):
    episodes = EpisodeSampler(images.labels, 4, 3, 3, seed=4).sample(6)
    order = episodes.classes.argsort(1)
    taskset = sla_bench.to_taskset(images, episodes, adaptation=adaptation)
    source = sla_bench.TasksetEpisodes(taskset, 3, adaptation)
    back = [source.sample(2) for _ in range(3)]
    for name in ("classes", "support", "query"):
        expected = getattr(episodes, name)
        expected = expected[torch.arange(6)[:, None], order]
        assert torch.equal(torch.cat([getattr(part, name) for part in back]), expected)
    assert torch.equal(source.sample(2).support, back[0].support)


@pytest.mark.parametrize("fused", [False, True])
def test_an_endless_taskset_is_a_source_of_valid_episodes(images, fused):
    meta = sla_bench.to_metadataset(images)
    random.seed(3)
    taskset = standard_tasks(meta)
    if fused:
        taskset = l2l.data.Taskset(meta, [transforms.FusedNWaysKShots(meta, 3, 5), transforms.LoadData(meta)])
    episodes = sla_bench.TasksetEpisodes(taskset, shots=2).sample(40)
    assert episodes.classes.shape == (40, 3)
    assert episodes.support.shape == (40, 3, 2)
    assert episodes.query.shape == (40, 3, 3)
    labels = torch.from_numpy(images.labels)
    for part in (episodes.support, episodes.query):
        assert torch.equal(labels[part], episodes.classes[..., None].expand_as(part))
    together = torch.cat((episodes.support, episodes.query), 2).flatten(1)
    assert all(len(row.unique()) == row.numel() for row in together)
    assert len(episodes.classes.unique(dim=0)) > 10


def test_a_metadataset_has_our_labels_without_reading_an_image(images):
    meta = sla_bench.to_metadataset(images, PLAIN)
    assert [meta.indices_to_labels[i] for i in range(len(meta))] == images.labels.tolist()
    read = l2l.data.MetaDataset(meta.dataset)
    assert {k: list(v) for k, v in read.labels_to_indices.items()} == {
        k: list(v) for k, v in meta.labels_to_indices.items()
    }
    assert sla_bench.from_torch_dataset(meta).checksum == images.checksum


def test_data_sets_made_of_metadatasets(images):
    meta = sla_bench.to_metadataset(images)
    filtered = l2l.data.FilteredMetaDataset(meta, [5, 2])
    found = sla_bench.from_torch_dataset(filtered)
    assert found.class_names == ("c", "f")
    assert found.class_counts.tolist() == [images.class_counts[2], images.class_counts[5]]
    union = l2l.data.UnionMetaDataset([filtered, meta])
    joined = sla_bench.from_torch_dataset(standard_tasks(union))
    assert joined.num_classes == 9
    assert len(joined) == len(filtered) + len(images)
    other = l2l.data.MetaDataset(meta.dataset, indices_to_labels={i: int(i > 40) for i in range(len(images))})
    assert sla_bench.from_torch_dataset(other).labels.tolist() == [int(i > 40) for i in range(len(images))]
    assert sla_bench.from_torch_dataset(other).class_names == ("class 0", "class 1")


def test_tasks_that_are_no_episodes_are_refused(images):
    meta = sla_bench.to_metadataset(images)
    turned = standard_tasks(meta)
    turned.task_transforms.append(l2l.vision.transforms.RandomClassRotation(meta, [0, 90]))
    with pytest.raises(UserError, match=r"RandomClassRotation.*may change images"):
        sla_bench.TasksetEpisodes(turned, 2).sample(1)
    with pytest.raises(UserError, match="more than 5 shots; found 5 to 5"):
        sla_bench.TasksetEpisodes(standard_tasks(meta), 5).sample(1)
    ways = l2l.data.Taskset(meta, [transforms.NWays(meta, 3), transforms.LoadData(meta)])
    with pytest.raises(UserError, match="the same number of images of each class"):
        sla_bench.TasksetEpisodes(ways, 2).sample(1)
    repeats = [transforms.NWays(meta, 3), transforms.KShots(meta, 60, replacement=True)]
    with pytest.raises(UserError, match="shows an image twice"):
        sla_bench.TasksetEpisodes(l2l.data.Taskset(meta, repeats), 2).sample(1)
    pool = EpisodeSampler(images.labels, 5, 1, 1, views=4).sample(3)
    with pytest.raises(UserError, match="episodes with views"):
        sla_bench.to_taskset(images, pool)
    with pytest.raises(UserError, match="shots must be at least 1"):
        sla_bench.TasksetEpisodes(turned, 0)


def test_learn2learns_loaders_take_our_tasksets(images):
    from learn2learn.data.samplers import TasksetSampler

    flat = fixed_episodes(images.labels, 3, 1, 2, count=4, seed=0)
    taskset = sla_bench.to_taskset(images, flat, PLAIN)
    sampler = TasksetSampler(taskset, shuffle=False)
    loader = torch.utils.data.DataLoader(taskset.dataset, batch_sampler=sampler)
    for number, (batch, _) in zip(range(4), loader, strict=False):
        assert torch.equal(positions(batch), positions(taskset[number][0]))
