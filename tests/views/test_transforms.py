from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sla_bench.errors import UserError
from sla_bench.registry import TRANSFORMS
from sla_bench.views.transforms import COLOR_PERM, ROT_COLOR_PERM12, ROTATION, ROTATION2, Transform

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "visible_core.npz")
IMAGES = torch.from_numpy(GOLDEN["sla_images"])
FORMATS = [torch.contiguous_format, torch.channels_last]


def random_images(count=5, size=6, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_views_are_those_of_the_official_code_bit_for_bit(name, memory_format):
    transform = TRANSFORMS.load(name)
    expected = torch.from_numpy(GOLDEN[f"views_{name}"])
    images = IMAGES[: len(expected) // transform.num_views].contiguous(memory_format=memory_format)
    assert torch.equal(transform.views(images).flatten(0, 1), expected)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_registry_names_each_transform(name):
    assert TRANSFORMS.load(name).name == name


@pytest.mark.parametrize("name", TRANSFORMS)
def test_one_view_is_that_row_of_all_views_and_view_0_is_the_image(name):
    transform, images = TRANSFORMS.load(name), random_images()
    views = transform.views(images)
    assert views.shape == (5, transform.num_views, 3, 6, 6)
    assert torch.equal(transform.view(images, 0), images)
    for j in range(transform.num_views):
        assert torch.equal(transform.view(images, j), views[:, j])


@given(name=st.sampled_from(sorted(TRANSFORMS)), data=st.data(), last=st.booleans())
@settings(max_examples=40)
def test_apply_gives_each_image_its_own_view(name, data, last):
    transform = TRANSFORMS.load(name)
    which = torch.tensor(data.draw(st.lists(st.integers(0, transform.num_views - 1), min_size=1, max_size=9)))
    images = random_images(len(which)).contiguous(memory_format=FORMATS[last])
    applied = transform.apply(images, which)
    assert torch.equal(applied, transform.views(images)[torch.arange(len(which)), which])
    assert applied.is_contiguous(memory_format=FORMATS[last])


@pytest.mark.parametrize("memory_format", FORMATS)
def test_flattened_views_need_no_copy_and_keep_the_order_of_memory(memory_format):
    views = ROT_COLOR_PERM12.views(random_images().contiguous(memory_format=memory_format))
    flat = views.flatten(0, 1)
    assert flat.data_ptr() == views.data_ptr()
    assert flat.is_contiguous(memory_format=memory_format)


def test_four_quarter_turns_are_no_turn():
    images = random_images()
    turned = images
    for _ in range(4):
        turned = ROTATION.view(turned, 1)
    assert torch.equal(turned, images)
    assert not torch.equal(ROTATION.view(images, 1), images)


def test_views_carry_gradients():
    images = random_images().requires_grad_()
    ROT_COLOR_PERM12.views(images).sum().backward()
    assert torch.equal(images.grad, torch.full_like(images, 12.0))


def test_quarter_turns_of_oblong_images_are_refused():
    oblong = torch.zeros(2, 3, 6, 8)
    with pytest.raises(UserError, match=r"'rotation' turns images by 90 degrees.* square; these are 6 x 8"):
        ROTATION.views(oblong)
    with pytest.raises(UserError, match="square"):
        ROTATION.apply(oblong, torch.tensor([0, 0]))
    assert ROTATION2.views(oblong).shape == (2, 2, 3, 6, 8)
    assert COLOR_PERM.views(oblong).shape == (2, 6, 3, 6, 8)


@pytest.mark.parametrize("channels", [1, 4])
def test_colour_orders_need_three_channels(channels):
    images = torch.zeros(2, channels, 4, 4)
    with pytest.raises(UserError, match=f"three colour channels, these images have {channels}"):
        COLOR_PERM.view(images, 1)
    assert ROTATION.views(images).shape == (2, 4, channels, 4, 4)


def test_views_that_do_not_exist_are_refused():
    images = random_images(2)
    for j in (-1, 4):
        with pytest.raises(UserError, match=r"views 0\.\.3"):
            ROTATION.view(images, j)
        with pytest.raises(UserError, match=r"views 0\.\.3"):
            ROTATION.apply(images, torch.tensor([0, j]))
    with pytest.raises(UserError, match="2 images need as many view numbers"):
        ROTATION.apply(images, torch.tensor([0]))
    with pytest.raises(UserError, match=r"\(B, C, H, W\)"):
        ROTATION.views(images[0])


def test_a_transform_of_ones_own_begins_with_the_image():
    with pytest.raises(UserError, match="view 0"):
        Transform("upside-down", turns=(2, 0))
    with pytest.raises(UserError, match="view 0"):
        Transform("bgr", channel_orders=((2, 1, 0),))


def test_views_have_names_that_say_what_they_are():
    assert ROTATION.view_names == ("0°", "90°", "180°", "270°")
    assert ROTATION.view_turns == (0, 1, 2, 3)
    assert ROTATION2.view_names == ("0°", "180°")
    assert COLOR_PERM.view_names == ("RGB", "RBG", "GRB", "GBR", "BRG", "BGR")
    assert ROT_COLOR_PERM12.view_names[3:7] == ("90° RGB", "90° GBR", "90° BRG", "180° RGB")
    assert ROT_COLOR_PERM12.view_turns == (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_turn_of_each_view_is_the_one_that_it_makes(name):
    transform = TRANSFORMS.load(name)
    grey = random_images()[:, :1].expand(-1, 3, -1, -1)
    assert len(set(transform.view_names)) == len(transform.view_turns) == transform.num_views
    for j, turn in enumerate(transform.view_turns):
        assert torch.equal(transform.view(grey, j), torch.rot90(grey, turn, (2, 3)))
