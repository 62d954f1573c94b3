import numpy as np
import pytest
from folder_drawings import put

from sla_bench.data.folder import Folder
from sla_bench.data.folder_listing import list_folder
from sla_bench.data.folder_splits import reading_lines
from sla_bench.data.splits import split_images
from sla_bench.errors import UserError

SIZES = {"ant": 20, "bee": 2, "cat": 10, "dog": 1, "eel": 3}


@pytest.fixture
def zoo(tmp_path):
    for name, count in SIZES.items():
        put(tmp_path / "zoo" / name, count, drawn=True)
    return tmp_path / "zoo"


def test_classes_of_one_or_two_images_are_trained_on_alone(zoo, tmp_path):
    folder = Folder(zoo, 16)
    loaded = {split: folder.load(split, "images", tmp_path) for split in ("train", "val", "test", "trainval")}
    assert {images.class_names for images in loaded.values()} == {tuple(SIZES)}
    assert loaded["train"].class_counts.tolist() == [14, 2, 7, 1, 1]
    assert loaded["val"].class_counts.tolist() == [2, 0, 1, 0, 1]
    assert loaded["test"].class_counts.tolist() == [4, 0, 2, 0, 1]
    assert loaded["trainval"].class_counts.tolist() == [16, 2, 8, 1, 2]
    lines = reading_lines("zoo", list_folder(zoo), "images")
    assert "zoo: no test image of 'bee', 'dog' (fewer than 3 images)" in lines[1]


def test_a_large_part_may_lack_classes_too(zoo, tmp_path, monkeypatch):
    folder = Folder(zoo, 16)
    small = folder.load("test", "images", tmp_path)
    monkeypatch.setattr("sla_bench.data.layouts.DIRECT_LIMIT", 10)
    large = folder.load("test", "images", tmp_path)
    assert isinstance(large.images, np.memmap)
    assert large.checksum == small.checksum


def test_small_classes_can_be_left_out_by_name(zoo, tmp_path):
    folder = Folder(zoo, 16, min_images=3)
    assert folder.load("test", "images", tmp_path).class_names == ("ant", "cat", "eel")
    assert folder.not_used() == {
        "pictures of classes with fewer than 3": {"count": 3, "names": {"bee": 2, "dog": 1}}
    }
    assert any(
        "left out: 3 pictures of classes with fewer than 3: bee (2), dog (1)" in line
        for line in folder.reading_lines("images", tmp_path)
    )
    (zoo / "splits.csv").write_text("class,split\nant,train\nbee,train\ncat,val\neel,test\n")
    assert folder.load("train", "classes", tmp_path).class_names == ("ant",)


def test_nothing_is_left(zoo):
    with pytest.raises(UserError, match="no class has 21 images, the largest has 20"):
        list_folder(zoo, 21)
    with pytest.raises(UserError, match="min_images=0"):
        Folder(zoo, min_images=0)


def test_a_split_that_no_class_is_large_enough_for(tmp_path):
    for part in ("train", "test"):
        for name in "ab":
            put(tmp_path / "zoo" / part / name, 2, drawn=True)
    with pytest.raises(UserError, match="no image is left for val, all classes are too small"):
        Folder(tmp_path / "zoo", 16).load("val", "images", tmp_path)


def test_dividing_large_classes_does_not_depend_on_small_ones_being_allowed():
    labels = np.repeat(np.arange(3), [10, 7, 5])
    strict = split_images(labels, (0.7, 0.1, 0.2), 3)
    lenient = split_images(labels, (0.7, 0.1, 0.2), 3, smallest=3)
    assert all(np.array_equal(a, b) for a, b in zip(strict, lenient, strict=True))
