"""ImageNet-LT and iNaturalist 2018: lists and annotations."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from real_formats import png, write_inaturalist_json, write_photograph_lists

from sla_bench.data.images import decode
from sla_bench.data.listed_photographs import IMAGENET_LT, INATURALIST2018
from sla_bench.data.lists import class_names_of, read_image_list
from sla_bench.errors import UserError

BOTH = pytest.mark.parametrize("dataset", [IMAGENET_LT, INATURALIST2018], ids=lambda dataset: dataset.name)


def same_images(loaded, colours, names, size=224):
    assert [loaded.class_names[label] for label in loaded.labels] == names
    assert loaded.images.shape[1:] == (size, size, 3)
    assert np.abs(loaded.images.astype(int) - colours).max() <= 3


@BOTH
def test_lists_become_memory_maps_in_their_own_order(tmp_path, dataset):
    written = write_photograph_lists(tmp_path, dataset.name)
    for split, (colours, names) in written.items():
        loaded = dataset.load(split, "images", tmp_path)
        same_images(loaded, colours, names, 256 if split == "train" else 224)
        assert isinstance(loaded.images, np.memmap)
    train, both = (dataset.load(split, "images", tmp_path) for split in ("train", "trainval"))
    assert both.checksum == train.checksum
    assert train.class_counts.tolist() == [6, 3, 1]
    assert {status for _, status in dataset.verify(tmp_path)} <= {"ok", "unknown"}


def test_inaturalist_is_tested_on_its_validation_list(tmp_path):
    write_photograph_lists(tmp_path, "inaturalist2018")
    assert len(INATURALIST2018.load("test", "images", tmp_path)) == 6
    with pytest.raises(
        UserError, match="has no val split: its published validation images are the test split"
    ):
        INATURALIST2018.load("val", "images", tmp_path)


@BOTH
def test_what_is_missing_and_where_it_comes_from(tmp_path, dataset):
    with pytest.raises(UserError, match=r"no files found.*https://github\.com/.*_train\.txt"):
        dataset.load("train", "images", tmp_path)
    folder = write_lists(tmp_path, dataset.name)
    (folder / f"{folder.name}_val.txt").unlink()
    with pytest.raises(UserError, match=r"_val\.txt is missing; 1 of 2|_val\.txt is missing; 2 of 3"):
        dataset.prepare(tmp_path)
    with pytest.raises(UserError, match="does not serve few-shot learning; use mini_imagenet"):
        dataset.load("train", "classes", tmp_path)


def write_lists(root, name="imagenet_lt"):
    write_photograph_lists(root, name)
    return root / {"imagenet_lt": "ImageNet_LT", "inaturalist2018": "iNaturalist18"}[name]


def append(line, part="train"):
    def change(folder):
        with (folder / f"ImageNet_LT_{part}.txt").open("a") as file:
            file.write(line)

    return change


def only(part, *labels):
    def change(folder):
        path = folder / f"ImageNet_LT_{part}.txt"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if int(line.split()[1]) in labels))

    return change


def break_an_image(folder):
    image = (folder / "ImageNet_LT_train.txt").read_text().splitlines()[4].split()[0]
    (folder / image).write_bytes((folder / image).read_bytes()[:100])


def remove_an_image(folder):
    image = (folder / "ImageNet_LT_train.txt").read_text().splitlines()[4].split()[0]
    (folder / image).unlink()


BAD = [
    (break_an_image, r"cannot read the image .*JPEG \(line 5 of .*ImageNet_LT_train\.txt\)"),
    (remove_an_image, r"is missing, though line 5 of .*_train\.txt names it \(1 of 10 images are missing\)"),
    (append("train/n0/a.JPEG\n"), r"line 11 of .*_train\.txt must be a path and a label"),
    (append("train/n0/a.JPEG -1\n"), "line 11 of .* must be a path and a label"),
    (append("train/n0/a.JPEG 4\n"), "labels must be 0 to C-1.*3 is not there, 4 is"),
    (append("../../etc/a.JPEG 0\n"), "line 11 .* must name an image inside the folder"),
    (only("train"), "names no images"),
    (only("test", 0, 2), r"_test\.txt lacks 1 of the 3 classes .*, 'n00000001' for example"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_bad_lists(tmp_path, change, words):
    folder = write_lists(tmp_path)
    change(folder)
    with pytest.raises(UserError, match=words) as caught:
        IMAGENET_LT.prepare(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_truncated_list_of_all_classes_is_found(tmp_path):
    write_lists(tmp_path)
    for classes, published in ((3, 11), (2, 11)):
        dataset = dataclasses.replace(
            IMAGENET_LT, classes=dict.fromkeys(IMAGENET_LT.classes, classes), published={"train": published}
        )
        words = f"has 10 images of 3 classes for train, published are 11 of {classes}; fetch it again"
        with pytest.raises(UserError, match=words):
            dataset.prepare(tmp_path)
    dataset = dataclasses.replace(dataset, classes=dict.fromkeys(IMAGENET_LT.classes, 4))
    assert len(dataset.load("train", "images", tmp_path)) == 10


def test_annotations_and_lists_of_inaturalist_give_the_same(tmp_path):
    written = write_inaturalist_json(tmp_path)
    for split, (colours, names) in written.items():
        loaded = INATURALIST2018.load(split, "images", tmp_path)
        same_images(loaded, colours, names, 256 if split == "train" else 224)
    folder = tmp_path / "iNaturalist18"
    for part in ("train", "val"):
        content = json.loads((folder / f"{part}2018.json").read_text())
        category = {a["image_id"]: a["category_id"] for a in content["annotations"]}
        lines = [f"{image['file_name']} {category[image['id']]}\n" for image in content["images"]]
        (folder / f"iNaturalist18_{part}.txt").write_text("".join(lines))
    before = INATURALIST2018.load("train", "images", tmp_path).checksum
    shutil.rmtree(tmp_path / "prepared")
    assert INATURALIST2018._find(tmp_path)[0].files(folder, "train")[0].suffix == ".txt"
    assert INATURALIST2018.load("train", "images", tmp_path).checksum == before


def edited(content, key, change):
    content[key] = change(content[key])
    return content


def moved(path):
    return lambda c: edited(c, "images", lambda images: [{**images[0], "file_name": path}, *images[1:]])


ANNOTATIONS = [
    (lambda c: {"annotations": c["annotations"]}, "it lacks 'images'"),
    (lambda c: c["images"], "cannot read .*train2018.json"),
    (lambda c: edited(c, "annotations", lambda found: found[:-1]), "train2018.json is damaged: it lacks"),
    (lambda c: edited(c, "images", lambda images: images[:-1]), "must have one annotation"),
    (moved("/etc/x.jpg"), "image 1 of .* must name an image inside the folder"),
]


@pytest.mark.parametrize(("change", "words"), ANNOTATIONS)
def test_bad_annotations(tmp_path, change, words):
    write_inaturalist_json(tmp_path)
    file = tmp_path / "iNaturalist18" / "train2018.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(UserError, match=f"(?i){words}"):
        INATURALIST2018.prepare(tmp_path)


def test_class_names_are_the_folders_where_these_are_unambiguous(tmp_path):
    file = tmp_path / "list.txt"
    cases = [
        ("a/x.jpg 1\nb/x.jpg 0\na/y.jpg 1\n", ("b", "a")),
        ("all/x.jpg 1\nall/y.jpg 0\n", ("class 0", "class 1")),
        ("a/x.jpg 0\nb/x.jpg 0\nc/y.jpg 1\n", ("class 0", "class 1")),
        ("with space/x.jpg 0\r\nb/x y.jpg 1\r\n", ("with space", "b")),
    ]
    for text, names in cases:
        file.write_text(text)
        assert class_names_of(read_image_list(file)) == names


def test_the_central_seven_eighths_are_kept():
    """Shorter side to 256, central 224: of 256 rows and 512 columns, rows 16 to 239, columns 144 to 367."""
    pixels = np.zeros((256, 512, 3), np.uint8)
    pixels[16:240, 144:368] = np.random.default_rng(0).integers(0, 256, (224, 224, 3))
    raw = png(pixels)
    np.testing.assert_array_equal(decode(raw, 224, "inner", "a"), pixels[16:240, 144:368])
    square = decode(raw, 256, "crop", "a")
    np.testing.assert_array_equal(square, pixels[:, 128:384])
