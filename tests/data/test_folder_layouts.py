import unicodedata

import numpy as np
import pytest
from folder_drawings import put, put_parts

from sla_bench.data.folder import Folder
from sla_bench.data.folder_layouts import list_folder
from sla_bench.data.folder_splits import reading_lines, seed_decides, split_listing
from sla_bench.data.folder_tree import roles
from sla_bench.errors import UserError

SPLITS = ("train", "val", "test")


def split(path, by="images", seed=0):
    """Of each split the paths of its images."""
    listing = list_folder(path)
    found = {name: split_listing(listing, name, by, seed)[0] for name in SPLITS}
    return {name: [listing.images[i] for i in index] for name, index in found.items()}


def first_line(path, by="images"):
    return reading_lines(f"folder:{path}", list_folder(path), by)[0]


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("TRAIN", "Dev", "Test"),
        ("base", "val", "novel"),
        ("Training Images", "Validation Images", "Test Images"),
        ("train2017", "val2017", "test2017"),
        ("train", "val", "eval"),
    ],
)
def test_parts_by_any_name(tmp_path, names):
    put_parts(tmp_path, dict.fromkeys(names, "abc"))
    found = split(tmp_path)
    assert {part: {image.split("/")[0] for image in images} for part, images in found.items()} == {
        part: {name} for part, name in zip(SPLITS, names, strict=True)
    }
    line = first_line(tmp_path)
    assert f"{names[0]}/, {names[1]}/ and {names[2]}/ with 3 classes: 9 images train" in line


def test_words_that_are_no_parts():
    assert roles(["bullet train", "testament", "cat", "values", "2", "", "学习"]) == {}


@pytest.mark.parametrize(
    ("parts", "missing", "sizes"),
    [(("train", "test"), "val", (54, 6, 60)), (("Train", "valid"), "test", (48, 60, 12))],
)
def test_of_a_missing_part_some_of_train_is_held_out_for_every_seed(tmp_path, parts, missing, sizes):
    put_parts(tmp_path, dict.fromkeys(parts, "abc"), count=20)
    found = split(tmp_path)
    assert tuple(map(len, found.values())) == sizes
    assert len({image for images in found.values() for image in images}) == 120
    held_out = [image.split("/")[1] for image in found[missing]]
    assert [held_out.count(name) for name in "abc"] == [sizes[SPLITS.index(missing)] // 3] * 3
    assert split(tmp_path, seed=7) == found
    assert f"of train held out for {'validation' if missing == 'val' else 'test'}" in first_line(tmp_path)


@pytest.mark.parametrize("missing", ["val", "test"])
def test_of_a_missing_part_of_classes_some_of_train_are_held_out(tmp_path, missing):
    other = ({"val", "test"} - {missing}).pop()
    put_parts(tmp_path, {"train": "abcdefghij", other: "xyz"})
    found = split(tmp_path, "classes")
    classes = {part: {image.split("/")[1] for image in images} for part, images in found.items()}
    assert classes[other] == set("xyz")
    assert len(classes[missing]) == 3
    assert classes["train"] | classes[missing] == set("abcdefghij")
    assert not classes["train"] & classes[missing]
    assert split(tmp_path, "classes", seed=5) == found
    assert not seed_decides(list_folder(tmp_path))
    assert f"held out for {missing}, the same for every seed" in first_line(tmp_path, "classes")


def test_too_few_classes_to_hold_some_out(tmp_path):
    put_parts(tmp_path, {"train": "abc", "test": "xyz"})
    with pytest.raises(UserError, match="has no part val, and the 3 classes of train are too few"):
        split(tmp_path, "classes")


def test_stray_pictures_and_other_folders_beside_classes_and_parts(tmp_path):
    put_parts(tmp_path, dict.fromkeys(SPLITS, "abc"))
    put(tmp_path / "train", 4)
    put(tmp_path, 1)
    put(tmp_path / "unlabelled", 7)
    found = split(tmp_path)
    assert sum(map(len, found.values())) == 27
    assert list_folder(tmp_path).left_out.found == {
        "pictures beside the class folders": {f"train/{i}.png": 1 for i in range(4)} | {"0.png": 1},
        "pictures in folders beside the parts": {"unlabelled": 7},
    }


def test_doubled_wrappers_of_parts(tmp_path):
    put_parts(tmp_path, {"train/train": "abc", "test/test": "abc"})
    assert split(tmp_path)["test"][0] == "test/test/a/0.png"


def test_a_vehicle_can_be_called_train(tmp_path):
    put_parts(tmp_path, {"": ["bus", "car", "train"]})
    assert list_folder(tmp_path).class_names == ("bus", "car", "train")


def test_accents_are_compared_however_they_are_written(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    put_parts(tmp_path, {"train": [composed, "tea"], "test": [decomposed, "tea"]})
    listing = list_folder(tmp_path)
    assert listing.class_names == (composed, "tea")
    assert [len(images) for images in split(tmp_path).values()] == [4, 2, 6]


def test_a_class_may_lack_in_the_test_part_only(tmp_path):
    put_parts(tmp_path, {"train": "abc", "val": "abc", "test": "ab"}, drawn=True)
    folder = Folder(tmp_path, 16)
    test = folder.load("test", "images", tmp_path / "data")
    assert test.class_names == ("a", "b", "c")
    assert test.class_counts.tolist() == [3, 3, 0]
    assert any("no test image of 'c' (no image in the test part)" in line for line in lines(tmp_path))
    put(tmp_path / "test" / "C")
    with pytest.raises(UserError, match=r"'C' is in test and not in train.*did you mean 'c'"):
        split(tmp_path)


def lines(path, by="images"):
    return reading_lines("folder:x", list_folder(path), by)


def wrong(make):
    return pytest.param(make, id=make.__name__)


def flat_parts(path):
    for part in SPLITS:
        put(path / part)
    return "train, .*val, .*test: these are parts without classes"


def flat_test(path):
    put_parts(path, {"train": "abc"})
    put(path / "test")
    return f"{path}/test has no class folders, its 3 pictures.*or use folder:{path}/train alone"


def flat_test_beside_classes(path):
    put_parts(path, {"": ["cat", "dog", "test"]})
    return "test looks like a part without classes: its 3 pictures lie in it directly"


def empty_part(path):
    put_parts(path, {"train": "abc", "test": "abc"})
    (path / "val").mkdir()
    return "val has no classes: it holds no pictures; fill it, or delete it"


def doubled_part(path):
    put_parts(path, dict.fromkeys(("train", "val", "valid"), "abc"))
    return "'val' and 'valid' both mean val; keep one"


def no_training_part(path):
    put_parts(path, {"val": "abc", "test": "abc"})
    return "has val and test but no training part"


def wrapper(path):
    put_parts(path / "photos", {"": "abc"})
    return f"did you mean folder:{path}/photos\\?"


def lone_train(path):
    put_parts(path, {"train": "abc"})
    return f"did you mean folder:{path}/train\\?"


def superclasses(path):
    put_parts(path, {"animals": ["cat", "dog"], "things": ["car", "cup"]})
    return f"take one of folder:{path}/animals, folder:{path}/things, or move all classes up"


def superclasses_in_parts(path):
    put_parts(path, {"train/animals": "ab", "train/things": "cd", "test/animals": "ab"})
    return "train has no classes directly: pictures lie one level deeper, in .*train/animals/a"


@pytest.mark.parametrize(
    "make",
    [
        wrong(make)
        for make in (
            flat_parts, flat_test, flat_test_beside_classes, empty_part, doubled_part,
            no_training_part, wrapper, lone_train,
            superclasses, superclasses_in_parts,
        )
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused_with_the_nearest_path(tmp_path, make):
    words = make(tmp_path / "data")
    with pytest.raises(UserError, match=words):
        list_folder(tmp_path / "data")


def test_one_level_too_low(tmp_path):
    put_parts(tmp_path / "data", {"train": "abc", "test": "abc"})
    with pytest.raises(
        UserError, match=f"3 images lie in it directly; did you mean folder:{tmp_path}/data\\?"
    ):
        list_folder(tmp_path / "data" / "train" / "a")
    put_parts(tmp_path / "own", {"": "abc"})
    with pytest.raises(UserError, match=f"did you mean folder:{tmp_path}/own\\?"):
        list_folder(tmp_path / "own" / "b")


def test_parts_keep_the_order_of_trainval(tmp_path):
    put_parts(tmp_path, {"Train": "ab", "Valid": "ab", "test": "ab"})
    listing = list_folder(tmp_path)
    index, _ = split_listing(listing, "trainval", "images", 0)
    assert np.array_equal(index, np.arange(12))
    assert [listing.images[i].split("/")[0] for i in (0, 6)] == ["Train", "Valid"]
