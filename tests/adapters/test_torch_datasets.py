import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision.transforms import Compose, Normalize, RandomCrop, ToTensor

import sla_bench
from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.errors import UserError
from sla_bench.views.augment import ImageBatches

from_torch_dataset = sla_bench.from_torch_dataset


class Pairs(Dataset):
    """Items as they are given, through a transform."""

    def __init__(self, images, labels, transform=None, classes=None):
        self.images, self.labels, self.transform = images, labels, transform
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        return (self.transform(image) if self.transform else image), self.labels[index]


def pixels(count=6, size=9, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def as_float_chw(image):
    return torch.from_numpy(image).permute(2, 0, 1).float()


FORMS = {
    "arrays": lambda image: image,
    "pictures": Image.fromarray,
    "bytes in a tensor": lambda image: torch.from_numpy(image).permute(2, 0, 1),
    "ToTensor": ToTensor(),
    "whole floats": as_float_chw,
    "float arrays": lambda image: image / 255,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_image_gives_the_same_bytes(form):
    images = pixels()
    found = from_torch_dataset(Pairs(images, [7, 3, 7, 5, 3, 7], FORMS[form]))
    np.testing.assert_array_equal(found.images, images)
    assert found.labels.tolist() == [2, 0, 2, 1, 0, 2]
    assert found.class_names == ("class 3", "class 5", "class 7")
    assert not found.grey


@pytest.mark.parametrize("form", ["arrays", "bytes in a tensor", "ToTensor", "whole floats"])
def test_one_channel_becomes_three_equal_ones(form):
    images = pixels(channels=1)
    found = from_torch_dataset(Pairs(images, [0, 1] * 3, FORMS[form]))
    assert found.grey
    np.testing.assert_array_equal(found.images, images.repeat(3, -1))


@settings(max_examples=40)
@given(arrays(np.uint8, (4, 3, 3, 3), elements=st.sampled_from([0, 1, 2, 254, 255])))
def test_dark_images_are_read_on_the_scale_that_the_others_show(images):
    images[0, 0, 0] = [0, 200, 255]
    for form in (ToTensor(), as_float_chw):
        np.testing.assert_array_equal(from_torch_dataset(Pairs(images, [0, 1, 0, 1], form)).images, images)


def test_nothing_but_zeros_and_ones_is_black_and_white():
    images = torch.tensor([0.0, 1.0]).repeat(2, 1, 2, 1)
    found = from_torch_dataset(TensorDataset(images, torch.tensor([0, 1])))
    assert found.images[0, :, :, 0].tolist() == [[0, 255], [0, 255]]


def test_pictures_of_all_modes():
    colours = Image.fromarray(pixels(1)[0])
    seen = Image.merge("RGBA", [*colours.split(), Image.new("L", colours.size, 255)])
    found = from_torch_dataset(Pairs([colours, seen, colours.convert("L")], [0, 1, 0]))
    np.testing.assert_array_equal(found.images[0], found.images[1])
    assert (found.images[2] == np.asarray(colours.convert("L"))[..., None]).all()
    assert not found.grey


def test_names_come_from_the_data_set_the_labels_or_the_caller():
    images, classes = pixels(4), ["ant", "bee", "cat", "dog"]
    assert from_torch_dataset(Pairs(images, [3, 1, 3, 1], classes=classes)).class_names == ("bee", "dog")
    part = Subset(Pairs(images, [3, 1, 0, 1], classes=classes), [1, 2])
    assert from_torch_dataset(part).class_names == ("ant", "bee")
    assert from_torch_dataset(Pairs(images, ["b", "a", "b", "a"])).class_names == ("a", "b")
    assert from_torch_dataset(Pairs(images, [4, 9, 4, 9]), ["x", "y"]).class_names == ("x", "y")
    labels = [torch.tensor(2), np.int32(1), 2.0, 1]
    assert from_torch_dataset(Pairs(images, labels)).labels.tolist() == [1, 0, 1, 0]


NORMALISED = Compose([ToTensor(), Normalize([0.5] * 3, [0.5] * 3)])
LARGER = Compose([Image.fromarray, RandomCrop(9, padding=4)])


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (Pairs(pixels(), [0, 1] * 3, NORMALISED), "take normalisation out"),
        (Pairs(pixels(), [0, 1] * 3, LARGER), "changes from reading to reading"),
        (Pairs([*pixels(2), *pixels(1, size=8)], [0, 1, 0]), "8 x 8 pixels, another 9 x 9"),
        (Pairs([as_float_chw(pixels(1)[0]), ToTensor()(pixels(1)[0])], [0, 1]), "on one scale"),
        (Pairs(["a.png"], [0]), "begins with a str instead of an image"),
        (Pairs(pixels(1, channels=2), [0]), r"1 or 3 channels, found uint8 \(9, 9, 2\)"),
        (Pairs(pixels(2), [0.5, 1]), "label 0 must be a whole number or a text, found float"),
        (Pairs(pixels(2), [0, None]), "label 1 must be a whole number or a text, found NoneType"),
        (Pairs(pixels(2), ["a", 1]), "all whole numbers or all texts"),
        (Pairs([], []), "has no items"),
        (TensorDataset(torch.zeros(2, 3, 4, 4)), r"must be a pair \(image, label\)"),
        (iter([1]), "not map-style"),
    ],
)
def test_what_cannot_be_images_is_refused_with_a_sentence(dataset, sentence):
    with pytest.raises(UserError, match=sentence):
        from_torch_dataset(dataset)


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="3 class names for 2 classes"):
        from_torch_dataset(Pairs(pixels(2), [0, 1]), ["a", "b", "c"])


def test_our_images_as_a_torch_data_set_and_back():
    from sla_bench.adapters.torch_datasets import TorchImages

    images = LabeledImages(pixels(), np.array([0, 1, 2, 2, 1, 0]), ("a", "b", "c"))
    back = from_torch_dataset(TorchImages(images))
    assert back.checksum == images.checksum
    properties = ImageProperties(size=9, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    normalised = TorchImages(images, properties)
    ((batch, labels),) = DataLoader(normalised, batch_size=6)
    assert torch.equal(batch, ImageBatches(images, properties).plain(torch.arange(6)))
    assert labels.tolist() == images.labels.tolist() == normalised.targets
    with pytest.raises(UserError, match="9 x 9 pixels"):
        TorchImages(images, ImageProperties(size=8))
