"""Photographs in their makers' layouts, through the command line."""

import re
import shutil

import numpy as np
import pytest
import real_formats
from scipy.io import savemat

from sla_bench.cli.app import run_command_line
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError

LAYOUTS = {
    "tiny_imagenet": ("tiny_imagenet", real_formats.write_tiny_imagenet, "tiny-imagenet-200", 64, 64),
    "imagenet by class": ("imagenet", real_formats.write_imagenet, "imagenet", 256, 224),
    "cub200": ("cub200", real_formats.write_cub200, "CUB_200_2011", 256, 224),
    "mit67": ("mit67", real_formats.write_mit67, "MIT67", 256, 224),
    "stanford_dogs": ("stanford_dogs", real_formats.write_stanford_dogs, "StanfordDogs", 256, 224),
    "inaturalist2018": ("inaturalist2018", real_formats.write_inaturalist_json, "iNaturalist18", 256, 224),
}
ALL = pytest.mark.parametrize("layout", LAYOUTS)


def sla_bench(capsys, *arguments):
    """Exit code, and what was printed: on standard output where all is well, else on standard error."""
    code = run_command_line([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.err if code else printed.out


def same_images(loaded, colours, names, size):
    assert [loaded.class_names[label] for label in loaded.labels] == names
    assert loaded.images.shape[1:] == (size, size, 3)
    assert np.abs(loaded.images.astype(int) - colours).max() <= 3


@ALL
def test_info_prepare_and_verify(tmp_path, capsys, layout):
    name, write, folder, *sizes = LAYOUTS[layout]
    code, text = sla_bench(capsys, "datasets", "info", name, "--data-root", tmp_path)
    assert code == 0
    assert folder in text
    assert "files:         missing" in text
    written = write(tmp_path)
    assert "files:         there" in sla_bench(capsys, "datasets", "info", name, "--data-root", tmp_path)[1]
    code, text = sla_bench(capsys, "datasets", "prepare", name, "--data-root", tmp_path)
    assert (code, [line.rpartition("/")[2] for line in text.split()]) == (0, ["train.npy", "test.npy"])
    code, text = sla_bench(capsys, "datasets", "verify", name, "--data-root", tmp_path)
    assert code == 0
    assert "ok       train: " in text
    for (split, (colours, names)), size in zip(written.items(), sizes, strict=True):
        same_images(dataset_named(name).load(split, "images", tmp_path), colours, names, size)
    both = dataset_named(name).load("trainval", "images", tmp_path)
    assert both.checksum == dataset_named(name).load("train", "images", tmp_path).checksum


def test_loose_validation_images_of_imagenet(tmp_path):
    written = real_formats.write_imagenet(tmp_path, "kaggle")
    same_images(dataset_named("imagenet").load("test", "images", tmp_path), *written["test"], 224)


def test_lists_of_dogs_may_lie_beside_the_images(tmp_path):
    written = real_formats.write_stanford_dogs(tmp_path, lists=".")
    same_images(dataset_named("stanford_dogs").load("test", "images", tmp_path), *written["test"], 224)


@ALL
def test_a_missing_part_is_named(tmp_path, capsys, layout):
    name, write, *_ = LAYOUTS[layout]
    write(tmp_path)
    layout, base = dataset_named(name)._find(tmp_path)
    absent = layout.files(base, "test")[-1]
    shutil.rmtree(absent) if absent.is_dir() else absent.unlink()
    code, text = sla_bench(capsys, "datasets", "prepare", name, "--data-root", tmp_path)
    assert code == 2
    assert f"{absent} is missing" in text


@ALL
def test_there_is_no_validation_split(tmp_path, layout):
    name, write, *_ = LAYOUTS[layout]
    write(tmp_path)
    with pytest.raises(UserError, match=f"{name} has no val split"):
        dataset_named(name).load("val", "images", tmp_path)


@ALL
def test_one_class_is_refused(tmp_path, capsys, layout):
    name, write, *_ = LAYOUTS[layout]
    write(tmp_path, counts=(3,))
    code, text = sla_bench(capsys, "datasets", "prepare", name, "--data-root", tmp_path)
    assert code == 2
    assert "a classifier needs two at least" in text


def replaced(file, old, new):
    def change(root):
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new, 1))

    return change


def cut(file, characters):
    def change(root):
        (root / file).write_text((root / file).read_text()[:-characters])

    return change


def cut_at_last(file, mark):
    def change(root):
        text = (root / file).read_text()
        (root / file).write_text(text[: text.rindex(mark)])

    return change


def without(file):
    def change(root):
        (root / file).unlink()

    return change


def renamed(old, new):
    def change(root):
        (root / old).rename(root / new)

    return change


def dog_list(**variables):
    def change(root):
        savemat(root / "StanfordDogs/lists/train_list.mat", variables)

    return change


def written(file, content):
    def change(root):
        (root / file).write_bytes(content)

    return change


def other_dogs(root):
    real_formats.write_dog_list(
        root / "StanfordDogs/lists/test_list.mat",
        [f"n{i % 3:08d}-some_dog/test_{i}.jpg" for i in range(6)],
        [2] * 6,
    )


TINY, CUB, ROOMS = "tiny-imagenet-200", "CUB_200_2011", "MIT67"
ANNOTATIONS, BIRD = f"{TINY}/val/val_annotations.txt", f"{CUB}/images/001.Some_Bird/Some_Bird_0003_18.jpg"
TRAIN, TEST = f"{ROOMS}/TrainImages.txt", f"{ROOMS}/TestImages.txt"
TWO = np.array([["a/b.jpg"], ["a/c.jpg"]], object)
LINE = r"line \d+ of .*"
BAD = [
    ("tiny_imagenet", cut(ANNOTATIONS, 6), r"line 6 of .* must be image, class and four coordinates"),
    ("tiny_imagenet", without(f"{TINY}/val/images/val_3.JPEG"), r"val_3\.JPEG is missing, though line 4 of"),
    ("tiny_imagenet", replaced(f"{TINY}/wnids.txt", "n00000001", "n7"), "the folder .*train/n7/images"),
    (
        "imagenet",
        lambda root: shutil.rmtree(root / "imagenet/val/n00000001"),
        "val lacks 1 of the 3 classes of the training images, 'n00000001' for example",
    ),
    ("cub200", cut_at_last(f"{CUB}/images.txt", " "), "line 13 of .* must be an id, once, and"),
    ("cub200", replaced(f"{CUB}/image_class_labels.txt", "5 ", "5 x"), "line 5 of .* a label from 1 on"),
    ("mit67", replaced(TEST, "bar/", "zoo/"), f"{LINE}zoo/.* is of the class 'zoo', of which there is no"),
    ("mit67", cut(TRAIN, 3), r"_room\. is missing, though line 7 of .* names it \(1 of 7"),
    ("mit67", replaced(TRAIN, "bar/", ""), f"{LINE} must be the path of an image in a folder"),
    ("stanford_dogs", dog_list(file_list=TWO, labels=[[1.0], [1.5]]), "entry 2 of 'labels' in .*, found 1.5"),
    ("stanford_dogs", written("StanfordDogs/lists/train_list.mat", b"<html>" * 40), "cannot read .*list.mat"),
    ("stanford_dogs", other_dogs, "test_list.mat lacks 2 of the 3 classes"),
]


@pytest.mark.parametrize(("name", "change", "words"), BAD)
def test_bad_files_are_said_in_one_line(tmp_path, capsys, name, change, words):
    LAYOUTS[next(layout for layout in LAYOUTS if layout.startswith(name))][1](tmp_path)
    change(tmp_path)
    code, text = sla_bench(capsys, "datasets", "prepare", name, "--data-root", tmp_path)
    lines = [line for line in text.splitlines() if line.startswith("sla-bench: ")]
    assert (code, len(lines)) == (2, 1)
    assert re.search(words, lines[0]), lines[0]


SOLUTION = "imagenet/LOC_val_solution.csv"
VALIDATION = "imagenet/ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_0000000"
SOLUTIONS = {
    "cut wnid": (cut(SOLUTION, 35), "line 7 of .*: .* is of the class 'n000000', of which there is no"),
    "image without row": (
        replaced(SOLUTION, "val_00000003", "val_00000009"),
        "not say the class of .*03.JPEG",
    ),
    "missing image": (without(f"{VALIDATION}2.JPEG"), "_00000002.JPEG is missing, though line 6"),
    "nothing": (without(SOLUTION), "must have one folder of images per class .*, or all images with"),
}


@pytest.mark.parametrize("kind", SOLUTIONS)
def test_bad_solutions_of_loose_validation_images(tmp_path, kind):
    change, words = SOLUTIONS[kind]
    real_formats.write_imagenet(tmp_path, "kaggle")
    change(tmp_path)
    with pytest.raises(UserError, match=words):
        dataset_named("imagenet").load("test", "images", tmp_path)


def test_an_added_training_image_is_noticed(tmp_path):
    for name, write, image in (
        ("imagenet", real_formats.write_imagenet, "imagenet/train/n00000000/n00000000_0.JPEG"),
        (
            "tiny_imagenet",
            real_formats.write_tiny_imagenet,
            f"{TINY}/train/n00000000/images/n00000000_0.JPEG",
        ),
    ):
        write(tmp_path)
        dataset_named(name).load("train", "images", tmp_path)
        file = tmp_path / image
        shutil.copy(file, file.with_name("new.JPEG"))
        with pytest.raises(UserError, match=f"has changed since.*datasets prepare {name}"):
            dataset_named(name).load("train", "images", tmp_path)
