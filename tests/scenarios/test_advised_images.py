"""The pictures that `advise` looks at."""

from dataclasses import dataclass

import numpy as np
import pytest

from sla_bench.data.base import Dataset, ImageProperties, LabeledImages
from sla_bench.errors import UserError
from sla_bench.scenarios.advice import all_images

COUNTS = (100, 40, 12)


@dataclass(frozen=True)
class Numbered(Dataset):
    """Pictures whose first pixel is their number, two thirds of them for training."""

    def load(self, split, by, data_root, split_seed=0):
        labels = np.repeat(np.arange(len(COUNTS)), COUNTS)
        part = (np.arange(len(labels)) % 3 < 2) == (split == "trainval")
        pixels = np.zeros((len(labels), 8, 8, 3), np.uint8)
        pixels[:, 0, 0, 0] = np.arange(len(labels))
        return LabeledImages(pixels[part], labels[part].astype(np.int64), ("a", "b", "c"))


DATA = Numbered("numbered", ImageProperties(8), "nowhere", splits_by=("images",))


def numbers(images):
    return images.images[:, 0, 0, 0]


def test_all_pictures_of_a_small_set(tmp_path):
    images, counts = all_images(DATA, tmp_path)
    assert sorted(numbers(images)) == list(range(152))
    assert counts.tolist() == list(COUNTS) == images.class_counts.tolist()
    assert np.array_equal(images.labels, np.repeat(np.arange(3), COUNTS)[numbers(images)])


@pytest.mark.parametrize(("most", "drawn"), [(151, (99, 40, 12)), (92, (40, 40, 12)), (60, (24, 24, 12))])
def test_of_a_large_set_as_many_of_each_class(tmp_path, most, drawn):
    images, counts = all_images(DATA, tmp_path, seed=1, most=most)
    assert tuple(images.class_counts) == drawn
    assert counts.tolist() == list(COUNTS)
    # Each picture keeps its class, and none comes twice.
    assert np.array_equal(images.labels, np.repeat(np.arange(3), COUNTS)[numbers(images)])
    assert len(set(numbers(images).tolist())) == len(images)
    again, _ = all_images(DATA, tmp_path, seed=1, most=most)
    other, _ = all_images(DATA, tmp_path, seed=2, most=most)
    assert np.array_equal(numbers(again), numbers(images))
    assert not np.array_equal(numbers(other), numbers(images))


def test_too_many_classes_are_refused(tmp_path):
    with pytest.raises(
        UserError, match="numbered has 3 classes; advise compares 35 pictures at most, fewer than 12"
    ):
        all_images(DATA, tmp_path, most=35)
