import numpy as np
import pytest

from sla_bench.data.base import LabeledImages
from sla_bench.data.contact_sheet import contact_sheet


def coloured(num_classes, per_class, side, shuffle=False):
    """Each image has one colour: red tells the class, green the place within it."""
    labels = np.repeat(np.arange(num_classes, dtype=np.int64), per_class)
    places = np.tile(np.arange(per_class), num_classes)
    if shuffle:
        order = np.random.default_rng(0).permutation(len(labels))
        labels, places = labels[order], places[order]
    images = np.zeros((len(labels), side, side, 3), np.uint8)
    images[..., 0] = (labels % 200)[:, None, None]
    images[..., 1] = (10 + places)[:, None, None]
    images[..., 2] = 77
    return LabeledImages(images, labels, tuple(f"class {k}" for k in range(num_classes)))


def tiles(sheet):
    """(red, green) of every tile's pixels, with their numbers."""
    pixels = np.asarray(sheet).reshape(-1, 3)
    # The green of tiles is small, so grey pixels of the letters are not taken for theirs.
    pixels = pixels[(pixels[:, 2] == 77) & (pixels[:, 1] < 60)]
    colours, counts = np.unique(pixels[:, :2], axis=0, return_counts=True)
    return {tuple(colour): count for colour, count in zip(colours.tolist(), counts.tolist(), strict=True)}


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_class_shows_images_of_its_own_at_equal_distances(shuffle):
    sheet = contact_sheet(coloured(7, 12, 32, shuffle), per_class=4)
    found = tiles(sheet)
    assert {red for red, _ in found} == set(range(7))
    assert len(found) == 28
    assert set(found.values()) == {64 * 64}
    if not shuffle:
        assert {green for _, green in found} == {10, 13, 16, 19}


@pytest.mark.parametrize(("side", "shown"), [(28, 56), (32, 64), (84, 84), (224, 128)])
def test_small_images_are_enlarged_and_large_ones_reduced(side, shown):
    sheet = contact_sheet(coloured(2, 3, side), per_class=3)
    assert set(tiles(sheet).values()) == {shown * shown}


def test_many_classes_are_thinned_out():
    sheet = contact_sheet(coloured(608, 1, 84), max_classes=20)
    reds = {red for red, _ in tiles(sheet)}
    assert reds == {(k * 608 // 20) % 200 for k in range(20)}


def test_names_are_written_beside_the_images():
    named = coloured(1, 1, 32)
    blank = LabeledImages(named.images, named.labels, (" ",))
    ink = [
        (np.asarray(contact_sheet(images))[40:, :, :] < 100).all(axis=2).sum() for images in (named, blank)
    ]
    assert ink[0] > ink[1] + 50
