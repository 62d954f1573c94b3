from dataclasses import replace

import numpy as np
import pytest

from sla_bench.data.glyph_rendering import DEFAULT, IMAGE_SIDE, draw_backgrounds, render
from sla_bench.data.glyph_shapes import CANVAS

PLAIN = replace(
    DEFAULT,
    tilt=0.0,
    shear=0.0,
    stretch=0.0,
    shift=0.0,
    chroma=0.0,
    warmth=0.0,
    gradient=0.0,
    texture=0.0,
    glyph_texture=0.0,
    stroke_opacity=(0.0, 0.0),
    patch_probability=0.0,
    noise=(0.0, 0.0),
)


@pytest.fixture(scope="module")
def backgrounds():
    return draw_backgrounds(np.random.default_rng(0))


def blank():
    return np.zeros((1, CANVAS, CANVAS), np.uint8)


def test_the_stock_is_equal_to_its_quarter_turns(backgrounds):
    for pictures in backgrounds:
        quarter = len(pictures) // 4
        turned = np.rot90(pictures[:quarter], axes=(1, 2))
        assert np.array_equal(pictures[quarter : 2 * quarter], turned)
    assert np.allclose(backgrounds.textures.mean(axis=(1, 2)), 0, atol=1e-4)
    assert np.allclose(backgrounds.textures.std(axis=(1, 2)), 1, atol=1e-3)
    assert backgrounds.strokes.min() == 0
    assert 0.9 < backgrounds.strokes.max() <= 1


def test_without_clutter_an_image_has_the_two_colours_of_glyph_and_background(backgrounds):
    difficulty = replace(PLAIN, size=(20.0, 20.0), contrast=(100.0, 100.0))
    square = np.zeros((1, CANVAS, CANVAS), np.uint8)
    square[:, 10:46, 10:46] = 255
    images = render(square, 50, difficulty, backgrounds, np.random.default_rng(1)).astype(int)
    corner, centre = images[:, 0, 0, 0], images[:, 16, 16, 0]
    assert set(np.abs(centre - corner)) <= {99, 100, 101}
    assert {-1, 1} == set(np.sign(centre - corner))
    covered = (images[..., 0] == centre[:, None, None]).sum(axis=(1, 2))
    assert np.all(np.abs(covered - 20 * 20) <= 40)


def test_tilt_shear_and_stretch_change_the_size_of_a_glyph_by_little(backgrounds):
    # All deformations have determinant 1, so the area is that of the scale alone.
    plain = replace(PLAIN, size=(18.0, 18.0), contrast=(100.0, 100.0))
    deformed = replace(plain, tilt=DEFAULT.tilt, shear=DEFAULT.shear, stretch=DEFAULT.stretch)
    square = np.zeros((1, CANVAS, CANVAS), np.uint8)
    square[:, 10:46, 10:46] = 255

    def area(images):
        grey = images[..., 0].astype(float)
        background = grey[:, :1, :1]
        return (np.abs(grey - background) / 100).sum(axis=(1, 2))

    images = render(square, 200, deformed, backgrounds, np.random.default_rng(2))
    assert area(images) == pytest.approx(18 * 18, rel=0.04)
    assert len(np.unique(images.reshape(200, -1) > 128, axis=0)) > 100


@pytest.mark.parametrize("statistic", ["mean", "energy", "edges"])
def test_nothing_but_the_glyph_shows_the_orientation(backgrounds, statistic):
    rng = np.random.default_rng(3)
    images = np.concatenate([render(blank(), 500, DEFAULT, backgrounds, rng) for _ in range(4)])
    values = images.astype(float)
    if statistic == "energy":
        values = (values - values.mean(axis=(1, 2), keepdims=True)) ** 2
    if statistic == "edges":
        # Differences along rows, which a quarter turn makes differences along columns.
        down, right = np.diff(values, axis=1) ** 2, np.diff(values, axis=2) ** 2
        difference = down.mean(axis=(1, 2, 3)) - right.mean(axis=(1, 2, 3))
        assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(difference))
        return
    for turns in (1, 2, 3):
        difference = (values - np.rot90(values, turns, axes=(1, 2))).mean(axis=3)
        error = difference.std(axis=0) / np.sqrt(len(difference))
        z = difference.mean(axis=0)[error > 0] / error[error > 0]
        # 1,024 correlated values of unit variance.
        assert np.abs(z).max() < 5
        assert 0.3 < np.mean(z**2) < 2.5


def test_the_deformation_has_no_preferred_axis(backgrounds):
    # A disc stays symmetric on average only if stretch and shear treat both axes alike.
    y, x = np.mgrid[:CANVAS, :CANVAS] - (CANVAS - 1) / 2
    disc = np.where(x**2 + y**2 < 18**2, 255, 0).astype(np.uint8)[None]
    difficulty = replace(PLAIN, stretch=0.25, shear=0.3, contrast=(100.0, 100.0))
    images = render(disc, 2000, difficulty, backgrounds, np.random.default_rng(4)).astype(float)
    coverage = np.abs(images[..., 0] - images[:, :1, :1, 0])
    along = np.arange(IMAGE_SIDE) - (IMAGE_SIDE - 1) / 2
    width = (coverage.sum(axis=1) * along**2).sum(axis=1) / coverage.sum(axis=(1, 2))
    height = (coverage.sum(axis=2) * along**2).sum(axis=1) / coverage.sum(axis=(1, 2))
    difference = np.log(width / height)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(difference))
    assert difference.std() > 0.2


def test_the_patch_hides_a_part_of_the_glyph_as_often_as_it_says(backgrounds):
    solid = np.full((1, CANVAS, CANVAS), 255, np.uint8)
    difficulty = replace(PLAIN, size=(30.0, 30.0), contrast=(100.0, 100.0), patch_probability=0.7)
    images = render(solid, 2000, difficulty, backgrounds, np.random.default_rng(5)).astype(int)
    glyph = np.median(images[..., 0], axis=(1, 2))
    # Inside the frame of margins that the glyph may leave free.
    hidden = np.abs(images[:, 2:-2, 2:-2, 0] - glyph[:, None, None]) > 50
    assert hidden.any(axis=(1, 2)).mean() == pytest.approx(0.7, abs=0.04)
    sides = hidden.any(axis=1).sum(axis=1)
    assert sides.max() <= 13
    assert images.shape == (2000, IMAGE_SIDE, IMAGE_SIDE, 3)
