import numpy as np
import pytest
from PIL import Image

from sla_bench.datasets.base import LabeledImages
from sla_bench.datasets.contact_sheet import contact_sheet
from sla_bench.errors import UserError


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


def tiles(path):
    """(red, green) of every tile's pixels, with their numbers."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    # The green of tiles is small, so grey pixels of the letters are not taken for theirs.
    pixels = pixels[(pixels[:, 2] == 77) & (pixels[:, 1] < 60)]
    colours, counts = np.unique(pixels[:, :2], axis=0, return_counts=True)
    return {tuple(colour): count for colour, count in zip(colours.tolist(), counts.tolist(), strict=True)}


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_class_shows_images_of_its_own_at_equal_distances(tmp_path, shuffle):
    contact_sheet(coloured(7, 12, 32, shuffle), tmp_path / "sheet.png", per_class=4)
    found = tiles(tmp_path / "sheet.png")
    assert {red for red, _ in found} == set(range(7))
    assert len(found) == 28
    assert set(found.values()) == {64 * 64}
    if not shuffle:
        assert {green for _, green in found} == {10, 13, 16, 19}


def test_a_class_with_few_images_shows_those(tmp_path):
    contact_sheet(coloured(3, 2, 32), tmp_path / "sheet.png", per_class=8)
    assert len(tiles(tmp_path / "sheet.png")) == 6


@pytest.mark.parametrize(("side", "shown"), [(28, 56), (32, 64), (84, 84), (224, 128)])
def test_small_images_are_enlarged_and_large_ones_reduced(tmp_path, side, shown):
    contact_sheet(coloured(2, 3, side), tmp_path / "sheet.png", per_class=3)
    assert set(tiles(tmp_path / "sheet.png").values()) == {shown * shown}


def test_many_classes_are_thinned_out(tmp_path):
    contact_sheet(coloured(608, 1, 84), tmp_path / "sheet.png", max_classes=20)
    reds = {red for red, _ in tiles(tmp_path / "sheet.png")}
    assert reds == {(k * 608 // 20) % 200 for k in range(20)}


def test_a_sheet_of_many_classes_is_neither_a_strip_nor_a_wall(tmp_path):
    contact_sheet(coloured(100, 8, 32), tmp_path / "sheet.png")
    width, height = Image.open(tmp_path / "sheet.png").size
    assert 0.5 < width / height < 2
    assert max(width, height) < 4000


def test_names_are_written_beside_the_images(tmp_path):
    named = coloured(1, 1, 32)
    blank = LabeledImages(named.images, named.labels, (" ",))
    for images, name in ((named, "named"), (blank, "blank")):
        contact_sheet(images, tmp_path / f"{name}.png")
    ink = [
        (np.asarray(Image.open(tmp_path / f"{name}.png"))[40:, :, :] < 100).all(axis=2).sum()
        for name in ("named", "blank")
    ]
    assert ink[0] > ink[1] + 50


def test_a_long_or_foreign_name_does_not_break_the_sheet(tmp_path):
    images = coloured(2, 1, 32)
    contact_sheet(LabeledImages(images.images, images.labels, ("x" * 500, "глиф")), tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").width < 1500


def test_what_cannot_be_written_is_refused(tmp_path):
    images = coloured(1, 1, 32)
    with pytest.raises(UserError, match=r"ends in \.png"):
        contact_sheet(images, tmp_path / "sheet.txt")
    with pytest.raises(UserError, match=r"cannot write .*No such file"):
        contact_sheet(images, tmp_path / "missing" / "sheet.png")
    with pytest.raises(UserError, match="at least one image and one class"):
        contact_sheet(images, tmp_path / "sheet.png", per_class=0)
