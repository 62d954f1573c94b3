from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sla_bench.training.episodes as module
from sla_bench.errors import UserError
from sla_bench.training.episodes import EpisodeSampler, disjoint_episodes


def labels_of_sizes(sizes):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


def equal(a, b):
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


@st.composite
def problems(draw, max_views=3):
    shots, queries = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    sizes = draw(st.lists(st.integers(shots + queries, shots + queries + 12), min_size=1, max_size=8))
    views = draw(st.integers(1, max_views))
    ways = draw(st.integers(1, len(sizes) * views))
    return {
        "labels": labels_of_sizes(sizes),
        "ways": ways,
        "shots": shots,
        "queries": queries,
        "seed": draw(st.integers(0, 2**31)),
        "views": views,
    }


@given(problem=problems(), count=st.integers(1, 6))
@settings(max_examples=60)
def test_every_episode_is_made_of_distinct_classes_and_distinct_images_of_them(problem, count):
    labels = torch.from_numpy(problem["labels"])
    episodes = EpisodeSampler(**problem).sample(count)
    ways, shots, queries = problem["ways"], problem["shots"], problem["queries"]
    assert episodes.support.shape == (count, ways, shots)
    assert episodes.query.shape == (count, ways, queries)
    pairs = episodes.classes * problem["views"] + episodes.views
    assert all(len(row.unique()) == ways for row in pairs)
    assert episodes.views.min() >= 0
    assert episodes.views.max() < problem["views"]
    images = torch.cat([episodes.support, episodes.query], dim=2)
    assert torch.equal(labels[images], episodes.classes[..., None].expand_as(images))
    assert all(len(way.unique()) == shots + queries for way in images.flatten(0, 1))


@given(problem=problems(), parts=st.lists(st.integers(1, 5), min_size=1, max_size=4))
@settings(max_examples=30)
def test_drawing_in_pieces_gives_the_same_episodes(problem, parts):
    at_once = EpisodeSampler(**problem).sample(sum(parts))
    sampler = EpisodeSampler(**problem)
    pieces = [sampler.sample(part) for part in parts]
    for name in ("classes", "views", "support", "query"):
        assert torch.equal(getattr(at_once, name), torch.cat([getattr(p, name) for p in pieces]))


@given(problem=problems(), count=st.integers(1, 5))
@settings(max_examples=40)
def test_flattening_keeps_images_with_their_label_and_view(problem, count):
    episodes = EpisodeSampler(**problem).sample(count)
    flat = episodes.flatten(torch.Generator().manual_seed(0))
    assert torch.equal(flat.classes, episodes.classes)
    for part in ("support", "query"):
        images, ways = getattr(flat, part), getattr(flat, f"{part}_labels")
        by_way = getattr(episodes, part)
        assert torch.equal(torch.from_numpy(problem["labels"])[images], episodes.classes.gather(1, ways))
        assert torch.equal(getattr(flat, f"{part}_views"), episodes.views.gather(1, ways))
        # The same (way, image) pairs as before, in some order.
        offset = len(problem["labels"])
        numbers = torch.arange(problem["ways"])[None, :, None]
        before = (by_way + offset * numbers).flatten(1).sort().values
        assert torch.equal((images + offset * ways).sort().values, before)


def test_position_of_a_query_says_nothing_about_its_label():
    sampler = EpisodeSampler(labels_of_sizes([20] * 5), ways=5, shots=1, queries=4, seed=0)
    labels = sampler.sample(4000).flatten(torch.Generator().manual_seed(1)).query_labels
    share = torch.stack([(labels == way).double().mean(0) for way in range(5)])
    # Standard error 0.0063 for each of 100 shares.
    assert (share - 0.2).abs().max() < 5 * 0.0063


def test_classes_and_images_are_drawn_uniformly_from_unequal_classes():
    sizes = [4, 9, 30, 30]
    labels = labels_of_sizes(sizes)
    draws = 20_000
    episodes = EpisodeSampler(labels, ways=2, shots=1, queries=2, seed=3).sample(draws)
    per_class = torch.bincount(episodes.classes.flatten(), minlength=4) / draws
    assert (per_class - 0.5).abs().max() < 5 * np.sqrt(0.25 / draws)
    for part, drawn in (("support", 1), ("query", 2)):
        times = torch.bincount(getattr(episodes, part).flatten(), minlength=len(labels)).double()
        expected = torch.tensor([draws * drawn * 0.5 / sizes[c] for c in labels])
        assert ((times - expected).abs() < 6 * expected.sqrt()).all()


def test_pairs_of_class_and_view_are_drawn_uniformly():
    sampler = EpisodeSampler(labels_of_sizes([5] * 3), ways=6, shots=1, queries=1, seed=0, views=4)
    episodes = sampler.sample(6000)
    share = torch.bincount((episodes.classes * 4 + episodes.views).flatten(), minlength=12) / 6000
    assert (share - 0.5).abs().max() < 5 * np.sqrt(0.25 / 6000)
    repeated = [len(row.unique()) < 6 for row in episodes.classes]
    assert all(repeated)


def test_state_of_the_generator_can_be_restored():
    sampler = EpisodeSampler(labels_of_sizes([9] * 5), ways=3, shots=2, queries=3, seed=0)
    sampler.sample(3)
    state = sampler.state()
    expected = sampler.sample(4)
    other = EpisodeSampler(labels_of_sizes([9] * 5), ways=3, shots=2, queries=3, seed=77)
    assert not equal(other.sample(4), expected)
    other.load_state(state)
    assert equal(other.sample(4), expected)


def test_fixed_list_begins_with_every_shorter_list(monkeypatch):
    labels = labels_of_sizes([30, 25, 40, 33])
    setting = {"ways": 3, "shots": 2, "queries": 5, "seed": 11}
    longest = module.fixed_episodes(labels, **setting, count=700)
    for count in (1, 255, 256, 257, 600):
        shorter = module.fixed_episodes(labels, **setting, count=count)
        for f in fields(shorter):
            assert torch.equal(getattr(shorter, f.name), getattr(longest, f.name)[:count])
    monkeypatch.setattr(module, "_CHUNK", 7)
    assert equal(module.fixed_episodes(labels, **setting, count=700), longest)


def test_fixed_list_depends_on_seed_only_and_takes_tensor_or_array():
    labels = labels_of_sizes([30, 25, 40, 33])
    setting = {"ways": 3, "shots": 2, "queries": 5, "count": 20}
    first = module.fixed_episodes(labels, **setting, seed=1)
    torch.rand(3)
    np.random.default_rng().random()
    assert equal(module.fixed_episodes(torch.from_numpy(labels), **setting, seed=1), first)
    assert not torch.equal(module.fixed_episodes(labels, **setting, seed=2).support, first.support)


def test_global_generators_are_left_alone():
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    labels = labels_of_sizes([30] * 4)
    module.fixed_episodes(labels, 3, 2, 5, count=5, seed=0)
    disjoint_episodes(labels, 3, 2, 5, seed=0)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ways": 5}, "5 ways need as many classes, the data has 4 classes"),
        ({"ways": 9, "views": 2}, "the data has 4 classes x 2 views"),
        (
            {"shots": 5, "queries": 4},
            "5 shots [+] 4 queries need 9 images of each class, the class of label 2 has 8",
        ),
        ({"ways": 0}, "ways must be at least 1, got 0"),
        ({"shots": -1}, "shots must be at least 1, got -1"),
        ({"queries": 0}, "queries must be at least 1, got 0"),
        ({"views": 0}, "views must be at least 1, got 0"),
    ],
)
def test_settings_that_the_data_cannot_serve_are_refused(changes, sentence):
    setting = {"ways": 3, "shots": 2, "queries": 5, **changes}
    with pytest.raises(UserError, match=sentence):
        EpisodeSampler(labels_of_sizes([10, 12, 8, 10]), **setting)


def test_largest_possible_settings_are_served():
    episodes = EpisodeSampler(labels_of_sizes([7, 7, 9]), ways=3, shots=3, queries=4).sample(5)
    assert all(sorted(row) == [0, 1, 2] for row in episodes.classes.tolist())


def test_no_episodes_are_refused():
    labels = labels_of_sizes([9, 9])
    with pytest.raises(UserError, match="episodes must be at least 1, got 0"):
        EpisodeSampler(labels, 2, 1, 1).sample(0)
    with pytest.raises(UserError, match="count must be at least 1, got 0"):
        module.fixed_episodes(labels, 2, 1, 1, count=0, seed=0)


@pytest.mark.parametrize(
    "labels", [np.zeros((2, 3), int), np.array([0.0, 1.0]), np.array([-1, 0]), np.array([], int)]
)
def test_labels_that_are_no_class_numbers_are_refused(labels):
    with pytest.raises(UserError, match="labels must be integers"):
        EpisodeSampler(labels, 1, 1, 1)


def most_tasks(sizes, ways, per_way):
    capacity = np.array(sizes) // per_way
    return max(t for t in range(capacity.sum() + 1) if np.minimum(capacity, t).sum() >= ways * t)


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=9),
    ways=st.integers(1, 5),
    shots=st.integers(1, 3),
    queries=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=120)
def test_disjoint_tasks_never_share_an_image_and_are_as_many_as_possible(sizes, ways, shots, queries, seed):
    labels = labels_of_sizes(sizes)
    expected = most_tasks(sizes, ways, shots + queries)
    if expected == 0:
        with pytest.raises(UserError, match="images"):
            disjoint_episodes(labels, ways, shots, queries, seed)
        return
    tasks = disjoint_episodes(labels, ways, shots, queries, seed)
    assert tasks.support.shape == (expected, ways * shots)
    assert tasks.query.shape == (expected, ways * queries)
    images = torch.cat([tasks.support, tasks.query], dim=1)
    assert len(images.unique()) == images.numel()
    assert all(len(set(row)) == ways for row in tasks.classes.tolist())
    for part in ("support", "query"):
        of_image = torch.from_numpy(labels)[getattr(tasks, part)]
        assert torch.equal(of_image, tasks.classes.gather(1, getattr(tasks, f"{part}_labels")))


def test_disjoint_tasks_use_classes_evenly_and_mix_them():
    tasks = disjoint_episodes(labels_of_sizes([600] * 20), ways=5, shots=5, queries=15, seed=0)
    assert len(tasks.classes) == 120
    assert torch.bincount(tasks.classes.flatten()).tolist() == [30] * 20
    met = torch.zeros(20, 20)
    for row in tasks.classes:
        met[row[:, None], row] += 1
    # 30 * 4 / 19 = 6.3 expected for each pair; blocks of tasks with the same classes would give 30.
    pairs = met[~torch.eye(20, dtype=torch.bool)]
    assert pairs.min() >= 1
    assert pairs.max() <= 16


def test_disjoint_tasks_depend_on_their_seed_only():
    labels = labels_of_sizes([60] * 8)
    first = disjoint_episodes(labels, 3, 2, 4, seed=5)
    assert equal(disjoint_episodes(labels, 3, 2, 4, seed=5), first)
    assert not torch.equal(disjoint_episodes(labels, 3, 2, 4, seed=6).support, first.support)


@given(seed=st.integers(0, 1000), distinct=st.sampled_from([3, 40, 2**24]), count=st.integers(1, 30))
@settings(max_examples=60)
def test_images_are_those_that_topk_would_choose_ties_included(seed, distinct, count):
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randint(distinct, (4, 3, 37), generator=generator)[..., 7:].float()
    assert torch.equal(module._largest(keys, count), keys.topk(count).indices)
