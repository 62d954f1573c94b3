import dataclasses
import warnings

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as F

import sla_bench.views.augment as module
from benchmarks.speed.usual_ways import by_torchvision
from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.errors import UserError
from sla_bench.views.augment import Augmentation, ColorJitter, CropAndFlip, ImageBatches, draw_augmentation

FULL = ImageProperties(12, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), crop_padding=3, flip=True, jitter=0.4)
PLAIN = dataclasses.replace(FULL, crop_padding=0, flip=False, jitter=0.0)


def labeled_images(count=40, size=12, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return LabeledImages(pixels, np.arange(count) % 4, tuple("abcd"))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "changes", [{}, {"jitter": 0.0}, {"flip": False}, {"crop_padding": 0}, {"jitter": 1.5}]
)
@pytest.mark.parametrize("size", [12, 7])
def test_batches_equal_torchvision_under_the_same_parameters(changes, size):
    properties = dataclasses.replace(FULL, size=size, **changes)
    data = labeled_images(size=size)
    index = torch.randint(40, (60,), generator=seeded(1))
    how = draw_augmentation(len(index), properties, seeded())
    batch = ImageBatches(data, properties).augmented_by(index, how)
    expected = [by_torchvision(data.images[n], how, i, properties) for i, n in enumerate(index.tolist())]
    torch.testing.assert_close(batch, torch.stack(expected), rtol=0, atol=1e-5)


def test_plain_batches_are_torchvisions_tensors_normalised():
    data = labeled_images()
    index = torch.tensor([3, 39, 3, 0])
    batch = ImageBatches(data, FULL).plain(index)
    expected = [F.normalize(F.to_tensor(data.images[i]), FULL.mean, FULL.std) for i in index.tolist()]
    torch.testing.assert_close(batch, torch.stack(expected), rtol=0, atol=1e-6)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert batch.dtype == torch.float32


def test_nothing_to_augment_gives_the_plain_batch():
    batches, index = ImageBatches(labeled_images(), PLAIN), torch.arange(40)
    assert torch.equal(batches.augmented(index, seeded()), batches.plain(index))


def test_padding_is_black_before_normalisation():
    data = LabeledImages(np.full((1, 4, 4, 3), 255, np.uint8), np.zeros(1, np.int64), ("white",))
    properties = dataclasses.replace(FULL, size=4, jitter=0.0)
    corner = Augmentation(torch.tensor([0]), torch.tensor([0]), torch.tensor([False]))
    batch = ImageBatches(data, properties).augmented_by(torch.tensor([0]), corner)
    black, white = ((value - np.array(FULL.mean)) / np.array(FULL.std) for value in (0, 1))
    np.testing.assert_allclose(batch[0, :, 0, 0], black, atol=1e-6)
    np.testing.assert_allclose(batch[0, :, 3, 3], white, atol=1e-6)
    assert int((batch[0, 0] > 0).sum()) == 1


def test_crop_takes_the_window_and_mirrors_it():
    images = torch.arange(2 * 3 * 3 * 3).view(2, 3, 3, 3).to(torch.uint8)
    top, left, flip = torch.tensor([1, 0]), torch.tensor([1, 2]), torch.tensor([False, True])
    crop = CropAndFlip(3, 1, capacity=5, device=torch.device("cpu"))
    result = crop(images, top, left, flip).clone()
    # As on a GPU, where nothing may be read back.
    crop.reads_back = False
    assert torch.equal(crop(images, top, left, flip), result)
    assert torch.equal(result[0], images[0])
    window = torch.zeros(3, 3, 3, dtype=torch.uint8)
    window[1:, :2] = images[1, :2, 1:]
    assert torch.equal(result[1], window.flip(1))


def jittered(images, factors, order):
    """The images in the order in which they were given."""
    values, rows = ColorJitter(images.shape[1], len(images) + 2, torch.device("cpu"))(images, factors, order)
    return values[rows].view(images.shape)


def test_order_of_jitter_matters_and_is_each_images_own():
    pixels = torch.randint(256, (1, 4, 4, 3), generator=seeded(), dtype=torch.uint8).expand(2, 4, 4, 3)
    factors = torch.tensor([[1.4, 0.6, 1.4]]).expand(2, 3)
    order = torch.tensor([[0, 1, 2], [2, 1, 0]])
    mixed = jittered(pixels, factors, order)
    assert (mixed[0] - mixed[1]).abs().max() > 1
    swapped = jittered(pixels, factors, order.flip(0))
    torch.testing.assert_close(mixed, swapped.flip(0), rtol=0, atol=1e-3)


def test_how_many_images_are_worked_on_at_a_time_makes_no_difference(monkeypatch):
    data, index = labeled_images(), torch.randint(40, (50,), generator=seeded(1))
    whole = ImageBatches(data, FULL).augmented(index, seeded())
    monkeypatch.setitem(module._CHUNK_BYTES, "cpu", 7 * 12 * 12 * 3 * 4)
    batches = ImageBatches(data, FULL)
    assert batches._chunk == 7
    torch.testing.assert_close(batches.augmented(index, seeded()), whole, rtol=0, atol=1e-5)


def test_a_batch_is_never_written_to_again():
    batches = ImageBatches(labeled_images(), FULL)
    support = batches.augmented(torch.arange(20), seeded())
    kept = support.clone()
    batches.augmented(torch.arange(20, 40), seeded(1))
    batches.plain(torch.arange(40))
    assert torch.equal(support, kept)


def test_generator_decides_and_the_global_one_is_left_alone():
    batches, index = ImageBatches(labeled_images(), FULL), torch.arange(40)
    before = torch.get_rng_state()
    first = batches.augmented(index, seeded(3))
    assert torch.equal(batches.augmented(index, seeded(3)), first)
    assert not torch.equal(batches.augmented(index, seeded(4)), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_copies_of_an_image_are_augmented_each_on_its_own():
    batch = ImageBatches(labeled_images(), FULL).augmented(torch.full((30,), 5), seeded())
    assert len({image.numpy().tobytes() for image in batch.contiguous()}) > 25


def test_parameters_have_torchvisions_distribution():
    count = 60_000
    how = draw_augmentation(count, FULL, seeded())

    def off(share, expected):
        return (share - expected).abs().max() / np.sqrt(expected * (1 - expected) / count)

    for offset in (how.top, how.left):
        assert off(torch.bincount(offset, minlength=7) / count, 1 / 7) < 4.5
    assert off(how.flip.float().mean(), 0.5) < 4.5
    assert torch.equal(how.order.sort(1).values, torch.arange(3).expand(count, 3))
    codes = (how.order * torch.tensor([9, 3, 1])).sum(1).unique(return_counts=True)[1]
    assert len(codes) == 6
    assert off(codes / count, 1 / 6) < 4.5
    tenths = ((how.factors - 0.6) / 0.08).long().clamp(0, 9)
    for operation in range(3):
        assert off(torch.bincount(tenths[:, operation], minlength=10) / count, 0.1) < 4.5
    assert abs(np.corrcoef(how.top, how.left)[0, 1]) < 0.02


def test_strong_jitter_never_draws_negative_factors():
    factors = draw_augmentation(5000, dataclasses.replace(FULL, jitter=1.5), seeded()).factors
    assert factors.min() >= 0
    assert factors.min() < 0.01
    assert factors.max() > 2.45


@pytest.mark.parametrize("flip", [True, False])
def test_flip_follows_the_properties(flip):
    how = draw_augmentation(200, dataclasses.replace(FULL, flip=flip), seeded())
    assert bool(how.flip.any()) is flip


def test_read_only_memory_map_is_used_in_place(tmp_path):
    data = labeled_images()
    np.save(tmp_path / "images.npy", data.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = ImageBatches(LabeledImages(mapped, data.labels, data.class_names), FULL)
        result = batches.augmented(torch.arange(40), seeded())
    assert batches._pool.data_ptr() == mapped.ctypes.data
    assert torch.equal(result, ImageBatches(data, FULL).augmented(torch.arange(40), seeded()))


def test_images_of_another_size_are_refused():
    with pytest.raises(UserError, match="images are 10 x 10 pixels, the data set's properties say 12 x 12"):
        ImageBatches(labeled_images(size=10), FULL)


@pytest.mark.parametrize("changes", [{"crop_padding": -1}, {"jitter": -0.1}, {"std": (0.2, 0.0, 0.2)}])
def test_properties_without_meaning_are_refused(changes):
    with pytest.raises(UserError, match="at least 0"):
        ImageBatches(labeled_images(), dataclasses.replace(FULL, **changes))


def test_flips_that_are_chosen_elsewhere_leave_the_rest_of_the_augmentation():
    batches, index = ImageBatches(labeled_images(), FULL), torch.arange(40)
    how = draw_augmentation(len(index), FULL, seeded())
    wanted = index % 3 == 0
    found = batches.augmented(index, seeded(), lambda asked: wanted[asked])
    assert torch.equal(found, batches.augmented_by(index, dataclasses.replace(how, flip=wanted)))
    unmirrored = ImageBatches(labeled_images(), dataclasses.replace(FULL, flip=False))
    never = unmirrored.augmented(index, seeded(), lambda asked: wanted[asked])
    assert torch.equal(never, unmirrored.augmented(index, seeded()))
