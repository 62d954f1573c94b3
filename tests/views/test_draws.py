"""Views drawn for each image, and parts of images that are turned."""

import numpy as np
import pytest
import torch

from sla_bench.errors import UserError
from sla_bench.registry import TRANSFORMS
from sla_bench.views.draws import LocalTurns, RandomViews

ROTATION = TRANSFORMS.load("rotation")
LETTERS = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])


def generator():
    return torch.Generator().manual_seed(0)


def test_each_image_appears_in_its_own_drawn_views():
    images, numbers = torch.randn(3, 3, 6, 6), torch.tensor([[2, 0], [3, 1], [1, 2]])
    shown = RandomViews(2).show(images, numbers, ROTATION, generator()).unflatten(0, (3, 2))
    for b, turns in enumerate(numbers.tolist()):
        for v, turn in enumerate(turns):
            assert torch.equal(shown[b, v], images[b].rot90(turn, (1, 2)))


def test_views_of_an_image_differ_and_all_are_as_likely():
    numbers = RandomViews(2).of_images(8000, 4, generator())
    assert numbers.shape == (8000, 2)
    assert (numbers[:, 0] != numbers[:, 1]).all()
    np.testing.assert_allclose(np.bincount(numbers.flatten()) / 16000, 1 / 4, atol=0.02)
    assert sorted(RandomViews(2).of_images(1, 2, generator())[0].tolist()) == [0, 1]
    assert torch.equal(RandomViews(2).of_images(5, 1, generator()), torch.zeros(5, 1, dtype=torch.int64))


@pytest.mark.parametrize(("shots", "count", "used"), [(1, 1, 1), (5, 1, 4), (2, 1, 2), (1, 2, 2), (3, 2, 4)])
def test_queries_of_a_way_are_drawn_among_the_views_of_its_supports(shots, count, used):
    ways, episodes = 3, 20
    supports = torch.arange(ways).repeat_interleave(shots).expand(episodes, -1)
    queries = torch.stack([torch.randperm(12, generator=generator()) % ways for _ in range(episodes)])
    drawn = RandomViews(count, by_way=True)
    of_support, of_query = drawn.of_episodes(supports, queries, 4, generator())
    assert of_support.shape == (*supports.shape, count)
    assert of_query.shape == (*queries.shape, count)
    for e in range(episodes):
        for way in range(ways):
            held = of_support[e][supports[e] == way]
            asked = of_query[e][queries[e] == way]
            assert len(held.unique()) == used
            assert set(asked.flatten().tolist()) <= set(held.flatten().tolist())
            # The supports go through the views in turn: none comes twice before another came once.
            assert np.ptp(np.bincount(held.flatten().tolist(), minlength=4)[held.unique()]) <= 1
            assert all(len(set(views)) == count for views in [*held.tolist(), *asked.tolist()])
    if used < 4:
        assert len(of_support.unique()) == 4


def test_a_quadrant_is_turned_as_the_number_says():
    images = LETTERS.expand(16, 1, 4, 4)
    shown = LocalTurns(quadrants=True).show(images, torch.arange(16)[:, None], ROTATION, generator())
    for number, image in enumerate(shown[:, 0]):
        quadrant, turn = divmod(number, 4)
        rows, columns = (slice(0, 2), slice(2, 4))[quadrant // 2], (slice(0, 2), slice(2, 4))[quadrant % 2]
        expected = LETTERS.clone()
        expected[rows, columns] = expected[rows, columns].rot90(turn)
        assert torch.equal(image, expected)
    assert torch.equal(shown[5, 0, :2, 2:], torch.tensor([[4.0, 8.0], [3.0, 7.0]]))


def test_a_quadrant_of_an_odd_size_is_square_and_at_its_corner():
    images = torch.randn(16, 2, 5, 5)
    shown = LocalTurns(quadrants=True).show(images, torch.arange(16)[:, None], ROTATION, generator())
    corner = images[13, :, 3:, 3:].rot90(1, (1, 2))
    assert torch.equal(shown[13, :, 3:, 3:], corner)
    assert torch.equal(shown[13, :, :, :3], images[13, :, :, :3])


def test_one_box_of_a_batch_is_turned_and_the_rest_stays():
    images = torch.randn(8, 3, 9, 9).to(memory_format=torch.channels_last)
    numbers, draws, seen = torch.arange(8)[:, None] % 4, LocalTurns(), generator()
    sides = set()
    for _ in range(60):
        shown = draws.show(images, numbers, ROTATION, seen)
        changed = (shown != images).any(1).any(0).nonzero()
        top, left = changed.min(0).values.tolist()
        # The middle of an odd box stays where it is, so that its edges show its size.
        side = int(changed.max() - changed.min(0).values[changed.max(0).values.argmax()]) + 1
        box = (slice(None), slice(top, top + side), slice(left, left + side))
        sides.add(side)
        for image, other, turn in zip(images, shown, numbers[:, 0].tolist(), strict=True):
            expected = image.clone()
            expected[box] = image[box].rot90(turn, (1, 2))
            assert torch.equal(other, expected)
    assert sides == {2, 3, 4}


def test_a_box_has_at_most_the_size_that_is_asked_for_and_may_fill_the_image():
    images = torch.randn(1, 1, 3, 3)
    turned = torch.ones(1, 1, dtype=torch.int64)
    drawn = [LocalTurns(box=3).show(images, turned, ROTATION, generator()) for _ in range(1)]
    many = generator()
    drawn = [LocalTurns(box=3).show(images, turned, ROTATION, many) for _ in range(30)]
    assert any(torch.equal(image, images.rot90(1, (2, 3))) for image in drawn)
    for box in (0, 1):
        assert torch.equal(LocalTurns(box=box).show(images, turned, ROTATION, generator()), images)


def test_half_turns_are_the_targets_of_half_turns():
    half = TRANSFORMS.load("rotation2")
    shown = LocalTurns(quadrants=True).show(
        LETTERS.expand(8, 1, 4, 4), torch.arange(8)[:, None], half, generator()
    )
    assert LocalTurns(quadrants=True).num_targets(half.num_views) == 8
    assert torch.equal(shown[7, 0, 2:, 2:], torch.tensor([[16.0, 15.0], [12.0, 11.0]]))


@pytest.mark.parametrize(("name", "turns"), [("rotation", True), ("rotation2", True), ("color_perm", False),
                                             ("rot_color_perm6", False)])  # fmt: skip
def test_only_turns_are_turned(name, turns):
    transform = TRANSFORMS.load(name)
    assert transform.only_turns is turns
    refused = LocalTurns().refusal(transform, 32)
    assert (refused is None) is turns
    assert RandomViews().refusal(transform, 32) is None


def test_a_box_larger_than_the_images_or_no_number_is_refused():
    assert "33 pixels is larger than images of 32" in LocalTurns(box=33).refusal(ROTATION, 32)
    assert LocalTurns(box=32).refusal(ROTATION, 32) is None
    with pytest.raises(UserError, match="box must be a whole number of at least 0, got -1"):
        LocalTurns(box=-1)
