"""The published files, if SLA_BENCH_DATA names a folder with them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from test_published_subsets import run_of

from sla_bench.data import sources
from sla_bench.data.named import dataset_named, load_dataset
from sla_bench.scenarios.classify.presets import long_tail

GOLDEN = Path(__file__).parents[1] / "golden"
COUNTS = json.loads((GOLDEN / "visible_longtail_counts.json").read_text())
ROOT = Path(os.environ.get("SLA_BENCH_DATA", "no such folder"))

# Positions, as little-endian int64, of LDAM-DRW's subsets of CIFAR-100's training images: the published
# selection (imbalance_cifar.py) on the labels of train.bin, first 16 digits of their SHA-256.
SUBSETS = {
    ("exp", 0.01, 0): "e0d58a4d2700c460",
    ("exp", 0.01, 1): "dd2f95c4fa7086a2",
    ("exp", 0.1, 0): "b4fbf1bf0a7f3338",
    ("exp", 0.1, 1): "c94f18d76917cc0a",
    ("step", 0.01, 0): "e0fcb6d47d8d24f1",
    ("step", 0.01, 1): "5e37f145cc62d7a9",
}
# Means of the training pixels that are commonly published, with 20 digits.
CIFAR100_MEANS = (0.50707515923713235294, 0.48654887331495098039, 0.44091784336703431373)


def needs(name):
    present = ROOT.is_dir() and bool(dataset_named(name).files(ROOT))
    return pytest.mark.skipif(not present, reason=f"no files of {name} below SLA_BENCH_DATA")


@needs("cifar100")
def test_cifar100_is_the_published_one():
    assert {status for _, status in dataset_named("cifar100").verify(ROOT)} == {"ok"}
    images = load_dataset("cifar100", "trainval", "images", ROOT).images
    sums = images.reshape(-1, 3).sum(axis=0, dtype=np.int64)
    np.testing.assert_allclose(sums / (50_000 * 32 * 32 * 255), CIFAR100_MEANS, rtol=1e-14)


@needs("cifar100")
@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_long_tailed_cifar100_is_ldam_drws(subset):
    imbalance, factor, seed = subset
    data = long_tail(run_of("cifar100", imbalance, factor, seed), ROOT)
    assert data.checksum == SUBSETS[subset]
    assert data.counts.tolist() == COUNTS[f"cifar100|{imbalance}|{factor}"]


@needs("fc100")
@pytest.mark.parametrize(("name", "classes"), [("fc100", (60, 20, 20)), ("cifar_fs", (64, 16, 20))])
def test_few_shot_splits_of_cifar100_have_600_images_of_each_class(name, classes):
    for split, count in zip(("train", "val", "test"), classes, strict=True):
        assert load_dataset(name, split, data_root=ROOT).class_counts.tolist() == [600] * count


@pytest.fixture
def writable(tmp_path):
    """A data root of links, below which maps may be written."""
    for path in ROOT.iterdir():
        if path.name != "prepared":
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


@needs("omniglot")
def test_omniglot(writable):
    dataset = dataset_named("omniglot")
    parts = {split: dataset.load(split, "classes", writable) for split in ("train", "val", "test")}
    assert {split: part.class_counts.tolist() for split, part in parts.items()} == {
        split: [20] * classes for split, classes in {"train": 813, "val": 151, "test": 659}.items()
    }
    pixels = parts["train"].images[..., 0] / 255
    assert pixels.mean() == pytest.approx(dataset.properties.mean[0], abs=5e-5)
    assert pixels.std() == pytest.approx(dataset.properties.std[0], abs=5e-5)


@needs("mini_imagenet")
@pytest.mark.slow
def test_mini_imagenet_is_prepared_once(writable, monkeypatch):
    dataset = dataset_named("mini_imagenet")
    first = dataset.load("val", "classes", writable)
    assert first.num_classes == 16
    assert first.images.shape[1:] == (84, 84, 3)
    monkeypatch.setattr(sources, "decode", lambda *_: pytest.fail("a picture was read"))
    again = dataset.load("val", "classes", writable)
    assert again.checksum == first.checksum
    assert dataset.class_counts(writable)["val"].tolist() == first.class_counts.tolist()
