"""The fourth split: all training images, in the order of the files."""

import dataclasses

import numpy as np
import pytest
from real_formats import random_images, write_cifar10, write_cifar100, write_fashion_mnist, write_folder

from sla_bench.data.cifar import CIFAR10, CIFAR100
from sla_bench.data.fashion_mnist import FASHION_MNIST
from sla_bench.data.folder import Folder
from sla_bench.data.glyphs import GLYPHS20
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.registry import DATASETS

LAYOUT = dataclasses.replace(FASHION_MNIST.layouts[0], folders=("FashionMNIST/raw",))
LOCAL_FASHION = dataclasses.replace(FASHION_MNIST, layouts=(LAYOUT,))


def glyphs(root):
    return GLYPHS20.reduced(20, 4)


def fashion(root):
    write_fashion_mnist(root)
    return LOCAL_FASHION


def folder(root):
    write_folder(root / "birds", classes=4, per_class=10, size=32)
    return Folder(root / "birds", 32)


def divided_folder(root):
    for seed, split in enumerate(("train", "val", "test")):
        for name in ("crow", "owl"):
            (root / "birds" / split / name).mkdir(parents=True)
            for i, pixels in enumerate(random_images(3, 32, 10 * seed + len(name))):
                np_image(pixels).save(root / "birds" / split / name / f"{i}.png")
    return Folder(root / "birds", 32)


def np_image(pixels):
    from PIL import Image

    return Image.fromarray(pixels)


def cifar10(root):
    write_cifar10(root)
    return CIFAR10


def cifar100(root):
    write_cifar100(root)
    return CIFAR100


def members(part):
    return {(int(y), image.tobytes()) for y, image in zip(part.labels, part.images, strict=True)}


@pytest.mark.parametrize("make", [glyphs, fashion, folder, divided_folder, cifar10, cifar100])
def test_trainval_is_train_and_val(tmp_path, make):
    dataset = make(tmp_path)
    train, val, test, both = (
        dataset.load(split, "images", tmp_path, 3) for split in ("train", "val", "test", "trainval")
    )
    assert members(both) == members(train) | members(val)
    assert len(both) == len(train) + len(val) == len(members(both))
    assert not members(both) & members(test)
    assert train.class_names == val.class_names == test.class_names == both.class_names


@pytest.mark.parametrize("make", [glyphs, divided_folder])
def test_trainval_does_not_depend_on_the_split(tmp_path, make):
    dataset = make(tmp_path)
    checksums = {dataset.load("trainval", "images", tmp_path, seed).checksum for seed in (0, 1)}
    assert len(checksums) == 1


def test_trainval_keeps_the_order_of_the_files(tmp_path):
    for write, dataset in ((write_cifar10, CIFAR10), (write_cifar100, CIFAR100)):
        images, names = write(tmp_path)["train"]
        loaded = dataset.load("trainval", "images", tmp_path)
        np.testing.assert_array_equal(loaded.images, images)
        assert [loaded.class_names[label] for label in loaded.labels] == names
    images, _ = write_fashion_mnist(tmp_path)["train"]
    np.testing.assert_array_equal(LOCAL_FASHION.load("trainval", "images", tmp_path).images, images)


@pytest.mark.parametrize("make", [glyphs, fashion, folder])
def test_there_is_no_trainval_by_classes(tmp_path, make):
    with pytest.raises(UserError, match="trainval joins train and val of the same classes"):
        make(tmp_path).load("trainval", "classes", tmp_path)


NAMED = [name for name in DATASETS.names() if name not in ("folder:PATH", "hf:NAME_OR_PATH")]


@pytest.mark.parametrize("name", NAMED)
def test_unknown_splits(tmp_path, name):
    dataset = dataset_named(name)
    with pytest.raises(UserError, match="unknown split 'trian'; did you mean 'train'"):
        dataset.load("trian", dataset.splits_by[0], tmp_path)
    with pytest.raises(UserError, match="unknown kind of split 'image'; did you mean 'images'"):
        dataset.load("train", "image", tmp_path)


def test_data_sets_say_what_is_usual_for_them():
    known = {name: dataset_named(name) for name in NAMED}
    orders = {name: dataset.class_order for name, dataset in known.items()}
    assert {name for name, order in orders.items() if order == "permuted"} == {
        "glyphs", "glyphs20", "glyphs-rot", "glyphs-pairs", "glyphs-sym", "fashion_mnist",
    }  # fmt: skip
    thresholds = {name: dataset.group_thresholds for name, dataset in known.items()}
    assert {name for name, pair in thresholds.items() if pair == (100, 20)} == {
        "cifar100", "imagenet_lt", "inaturalist2018",
    }  # fmt: skip
    assert {name for name, dataset in known.items() if dataset.long_tailed} == {
        "imagenet_lt",
        "inaturalist2018",
    }
    assert Folder("anywhere").long_tailed
