import pytest
import torch

from sla_bench.data.base import ImageProperties
from sla_bench.views.mixing import CutMix, MixUp

PROPERTIES = ImageProperties(8)


def constant_images(values, size=8):
    return torch.tensor(values).view(-1, 1, 1, 1).repeat(1, 3, size, size)


def draws(mix, images, labels, count=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [mix(images, labels, generator) for _ in range(count)]


def test_mixup_of_two_images_by_hand():
    images, labels = constant_images([2.0, 10.0]), torch.tensor([4, 7])
    for mixed in draws(MixUp(PROPERTIES), images, labels, 20):
        w = mixed.weight
        torch.testing.assert_close(mixed.images[0], torch.full((3, 8, 8), w * 2 + (1 - w) * 10))
        torch.testing.assert_close(mixed.images[1], torch.full((3, 8, 8), w * 10 + (1 - w) * 2))
        assert mixed.labels.tolist() == [4, 7]
        assert mixed.other_labels.tolist() == [7, 4]


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_pictures_consist_of_the_images_of_their_labels_in_the_shares_of_the_weight(kind):
    """Images that show their label everywhere: the mean of a picture is the mean of its labels."""
    labels = torch.tensor([0, 1, 10, 100, 1000])
    images = constant_images(labels.float().tolist())
    for mixed in draws(kind(PROPERTIES, probability=1.0), images, labels, 50):
        expected = mixed.weight * mixed.labels + (1 - mixed.weight) * mixed.other_labels
        torch.testing.assert_close(mixed.images.mean((1, 2, 3)), expected, rtol=1e-5, atol=1e-4)
        if mixed.weight < 1:
            assert (mixed.other_labels != labels).all()
            assert sorted(mixed.other_labels.tolist()) == labels.tolist()


def test_cutmix_pastes_one_rectangle_whose_area_is_one_minus_the_weight():
    labels = torch.tensor([0, 1])
    images = constant_images([0.0, 1.0], size=9)
    sides = set()
    for mixed in draws(CutMix(ImageProperties(9), probability=1.0), images, labels):
        pasted = mixed.images[0, 0] == 1
        rows, columns = pasted.any(1), pasted.any(0)
        assert torch.equal(pasted, rows[:, None] & columns[None])
        assert float(pasted.double().mean()) == pytest.approx(1 - mixed.weight, abs=1e-6)
        assert torch.equal(mixed.images[1, 0] == 0, pasted)
        for lines in (rows, columns):
            where = lines.nonzero().flatten()
            assert len(where) == 0 or where[-1] - where[0] + 1 == len(where)
        sides.add((int(rows.sum()), int(columns.sum())))
    assert len(sides) > 10


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_weights_of_mixup_have_the_moments_of_the_beta_distribution(alpha):
    images, labels = constant_images([0.0, 1.0], size=2), torch.tensor([0, 1])
    weights = torch.tensor([m.weight for m in draws(MixUp(PROPERTIES, alpha=alpha), images, labels, 1500)])
    assert float(weights.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(weights.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_the_share_of_batches_that_are_mixed_is_the_probability(kind):
    images, labels = constant_images([0.0, 1.0]), torch.tensor([0, 1])
    mixed = draws(kind(PROPERTIES, probability=0.3), images, labels, 1000)
    left = [m for m in mixed if torch.equal(m.images, images)]
    assert all(m.weight == 1 and torch.equal(m.other_labels, labels) for m in left)
    # A rectangle of no pixels mixes nothing either.
    nothing = {MixUp: 0.0, CutMix: 0.3 * 4 / 64}[kind]
    assert len(left) / 1000 == pytest.approx(0.7 + nothing, abs=0.06)


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_copies_meet_the_copies_of_one_other_image(kind):
    labels = torch.tensor([0, 1, 2])
    images = constant_images([0.0, 0.1, 0.2, 10.0, 10.1, 10.2, 20.0, 20.1, 20.2])
    for mixed in draws(kind(PROPERTIES, probability=1.0), images, labels, 20):
        means = mixed.images.mean((1, 2, 3)).view(3, 3)
        expected = 10 * (mixed.weight * mixed.labels + (1 - mixed.weight) * mixed.other_labels)
        torch.testing.assert_close(means, expected[:, None] + torch.tensor([0.0, 0.1, 0.2]))
