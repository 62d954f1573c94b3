"""Random parts against torchvision's RandomResizedCrop."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop, functional

from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.errors import UserError
from sla_bench.views.augment import ImageBatches
from sla_bench.views.crops_and_flips import ASPECT, SCALE, Parts, ResizedCrop, draw_parts

CPU = torch.device("cpu")
PROPERTIES = ImageProperties(size=24, crop_padding=0, resized_crop=True)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count, height, width, seed=0):
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=seeded(seed))


def fields(parts):
    return {field.name: getattr(parts, field.name) for field in dataclasses.fields(parts)}


@pytest.mark.parametrize(("height", "width"), [(256, 256), (64, 40), (10, 26)])
def test_parts_are_distributed_as_torchvision_draws_them(height, width):
    """The last shape is wider than any admitted part, so that a fifth of the images need the fallback."""
    ours = fields(draw_parts(3000, height, width, seeded()))
    picture = torch.empty(3, height, width)
    torch.manual_seed(1)
    theirs = torch.tensor([RandomResizedCrop.get_params(picture, SCALE, ASPECT) for _ in range(3000)]).T
    for name, reference in zip(("top", "left", "height", "width"), theirs, strict=True):
        assert ks_2samp(ours[name], reference).pvalue > 1e-3, name
    aspect, reference = ours["width"] / ours["height"], theirs[3] / theirs[2]
    assert ks_2samp(aspect, reference).pvalue > 1e-3
    assert ks_2samp(ours["width"] * ours["height"], theirs[2] * theirs[3]).pvalue > 1e-3


@pytest.mark.parametrize(("height", "width"), [(2, 40), (40, 2), (31, 31)])
def test_parts_lie_inside(height, width):
    parts = draw_parts(500, height, width, seeded())
    assert min(int(value.min()) for value in (parts.top, parts.left)) >= 0
    assert min(int(value.min()) for value in (parts.height, parts.width)) >= 1
    assert int((parts.top + parts.height).max()) <= height
    assert int((parts.left + parts.width).max()) <= width


def test_what_never_fits_is_the_centre_as_in_torchvision():
    parts = draw_parts(4, 40, 2, seeded())
    expected = RandomResizedCrop.get_params(torch.empty(3, 40, 2), (1.0, 1.0), ASPECT)
    ours = torch.stack([parts.top, parts.left, parts.height, parts.width], 1)
    fallback = (parts.height == expected[2]) & (parts.width == expected[3])
    assert fallback.any()
    assert (ours[fallback] == torch.tensor(expected)).all()


@pytest.mark.parametrize("size", [24, 37])
def test_pixels_are_those_of_torchvision(size):
    pool = images(40, 48, 30)
    parts = draw_parts(40, 48, 30, seeded(3))
    flip = torch.arange(40) % 2 == 1
    made = ResizedCrop(size, CPU)(pool, parts, flip)
    assert made.dtype == torch.uint8
    assert made.shape == (40, size, size, 3)
    difference = 0.0
    for i in range(40):
        box = [int(values[i]) for values in (parts.top, parts.left, parts.height, parts.width)]
        picture = functional.resized_crop(
            pool[i].permute(2, 0, 1).float(), *box, [size, size], antialias=False
        )
        expected = functional.hflip(picture) if flip[i] else picture
        # Rounded to bytes, so half a step, and a little for other orders of sums.
        difference = max(difference, float((made[i].permute(2, 0, 1) - expected).abs().max()))
    assert difference < 0.51


def test_a_part_of_the_size_of_the_result_is_copied():
    pool = images(1, 40, 40)
    corner = [torch.tensor([value]) for value in (3, 5, 24, 24)]
    made = ResizedCrop(24, CPU)(pool, Parts(*corner), torch.tensor([False]))
    torch.testing.assert_close(made, pool[:, 3:27, 5:29])


def batches(pool, properties=PROPERTIES):
    data = LabeledImages(pool.numpy(), np.arange(len(pool)) % 2, ("a", "b"))
    return ImageBatches(data, properties)


def test_batches_are_random_parts_and_the_centre_without_augmentation():
    pool = images(30, 32, 32)
    index = torch.arange(30).flip(0)
    made = batches(pool)
    augmented = made.augmented(index, seeded(5))
    generator = seeded(5)
    parts = draw_parts(30, 32, 32, generator)
    flip = torch.rand(30, generator=generator) < 0.5
    expected = ResizedCrop(24, CPU)(pool[index], parts, flip).permute(0, 3, 1, 2)
    torch.testing.assert_close(augmented, expected.float() / 127.5 - 1, atol=1e-5, rtol=0)
    centre = pool[index, 4:28, 4:28].permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(made.plain(index), centre, atol=1e-5, rtol=0)
    assert augmented.is_contiguous(memory_format=torch.channels_last)


def test_jitter_follows_the_random_part():
    pool = images(30, 32, 32)
    properties = dataclasses.replace(PROPERTIES, jitter=0.4)
    index = torch.arange(30)
    jittered = batches(pool, properties).augmented(index, seeded(5))
    plain = batches(pool).augmented(index, seeded(5))
    assert jittered.shape == plain.shape
    assert not torch.equal(jittered, plain)
    # Jitter scales and shifts: what is black all over stays so.
    black = torch.zeros_like(pool)
    assert (batches(black, properties).augmented(index, seeded(5)) == -1).all()


def test_images_may_be_larger_but_not_smaller():
    with pytest.raises(UserError, match="23 x 40 pixels, the data set's properties say 24 x 24"):
        batches(images(2, 23, 40))
    with pytest.raises(UserError, match="32 x 32 pixels"):
        batches(images(2, 32, 32), dataclasses.replace(PROPERTIES, resized_crop=False))
