import torch
from hypothesis import given
from hypothesis import strategies as st

from sla_bench.views.crops_and_flips import AlternatingFlips


def flips(count=6, seed=0):
    return AlternatingFlips(count, torch.Generator().manual_seed(seed))


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=12), max_size=6), st.integers(0, 9))
def test_each_image_is_mirrored_every_other_time(batches, seed):
    alternating, last = flips(seed=seed), {}
    for batch in batches:
        for image, mirrored in zip(batch, alternating(torch.tensor(batch)).tolist(), strict=True):
            assert mirrored is not last.get(image)
            last[image] = mirrored


def test_half_of_the_images_are_mirrored_in_a_pass_and_the_others_in_the_next():
    alternating, everything = flips(10_000), torch.arange(10_000)
    first, second, third = (alternating(everything) for _ in range(3))
    assert abs(first.float().mean() - 0.5) < 0.02
    assert torch.equal(second, ~first)
    assert torch.equal(third, first)
    assert torch.equal(flips(10_000)(everything), first)
    assert not torch.equal(flips(10_000, seed=1)(everything), first)


def test_copies_of_an_image_alternate_within_a_batch():
    found = flips(3)(torch.arange(3).repeat_interleave(4)).view(3, 4)
    assert torch.equal(found[:, 2:], found[:, :2])
    assert torch.equal(found[:, 1], ~found[:, 0])


def test_they_go_on_from_where_they_stood():
    index = torch.tensor([0, 3, 3, 5])
    one, other = flips(), flips(seed=4)
    one(index)
    other.load_state(one.state().clone())
    assert torch.equal(one(index), other(index))
