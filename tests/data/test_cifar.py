import hashlib
import pickle
import urllib.error
import urllib.request

import numpy as np
import pytest
import torchvision
from real_formats import (
    python2_pickle,
    write_cifar10,
    write_cifar10_binary,
    write_cifar100,
    write_cifar100_binary,
)

from sla_bench.data import cifar
from sla_bench.data.cifar import CIFAR10, CIFAR100
from sla_bench.data.overview import describe, overview, sheet_of, verify
from sla_bench.errors import UserError

BOTH = pytest.mark.parametrize(
    ("dataset", "write"),
    [
        (CIFAR10, write_cifar10),
        (CIFAR100, write_cifar100),
        (CIFAR10, write_cifar10_binary),
        (CIFAR100, write_cifar100_binary),
    ],
)


def edit(path, change):
    content = pickle.loads(path.read_bytes(), encoding="latin1")
    change(content)
    path.write_bytes(python2_pickle(content))


@BOTH
def test_the_splits(tmp_path, dataset, write):
    written = write(tmp_path)
    parts = {split: dataset.load(split, "images", tmp_path) for split in ("train", "val", "test")}
    images, names = written["test"]
    np.testing.assert_array_equal(parts["test"].images, images)
    assert [parts["test"].class_names[label] for label in parts["test"].labels] == names
    assert set(parts["val"].class_counts.tolist()) == {1}
    assert all(part.num_classes == dataset.classes["train"] for part in parts.values())
    assert all(part.images.flags.c_contiguous and part.images.flags.writeable for part in parts.values())
    other = dataset.load("val", "images", tmp_path, split_seed=1)
    assert other.checksum != parts["val"].checksum
    assert dataset.load("val", "images", tmp_path, split_seed=0).checksum == parts["val"].checksum


def test_the_published_sizes_give_a_validation_split_of_5000():
    from sla_bench.data.splits import split_images

    labels = np.repeat(np.arange(10), 5000)
    train, val = split_images(labels, (1 - 0.1, 0.1), seed=0)
    assert (len(train), len(val)) == (45_000, 5_000)


def test_torchvision_reads_the_same(tmp_path, monkeypatch):
    write_cifar10(tmp_path)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    for split, train in (("trainval", True), ("test", False)):
        theirs = torchvision.datasets.CIFAR10(str(tmp_path), train=train)
        ours = CIFAR10.load(split, "images", tmp_path)
        np.testing.assert_array_equal(ours.images, theirs.data)
        assert ours.labels.tolist() == theirs.targets
        assert ours.class_names == tuple(theirs.classes)


def test_published_checksums_are_torchvisions():
    both = (
        (cifar.CIFAR10_PYTHON, torchvision.datasets.CIFAR10),
        (cifar.CIFAR100_PYTHON, torchvision.datasets.CIFAR100),
    )
    for ours, theirs in both:
        assert (theirs.base_folder, theirs.url) == (ours.folder, ours.url)
        for part, listed in (("train", theirs.train_list), ("test", theirs.test_list)):
            assert [*ours.files[part].items()] == [tuple(pair) for pair in listed]


@BOTH
def test_there_are_no_episodes_of_unseen_classes(tmp_path, dataset, write):
    write(tmp_path)
    with pytest.raises(UserError, match=r"does not serve few-shot learning; use fc100 or cifar_fs"):
        dataset.load("train", "classes", tmp_path)


@BOTH
def test_missing_files(tmp_path, dataset, write):
    with pytest.raises(UserError, match=r"no files found.*-python\.tar\.gz or .*-binary\.tar\.gz"):
        dataset.load("train", "images", tmp_path)
    write(tmp_path)
    path = dataset.files(tmp_path)[-1]
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} is missing; unpack"):
        dataset.load("train", "images", tmp_path)
    assert (path, "bad") in dataset.verify(tmp_path)


@BOTH
def test_prepare_checks_what_is_there(tmp_path, dataset, write):
    write(tmp_path)
    paths = dataset.prepare(tmp_path)
    assert paths == dataset.files(tmp_path)
    assert {status for _, status in dataset.verify(tmp_path)} == {"unknown"}
    with pytest.raises(UserError, match="needs no conversion"):
        dataset.prepare(tmp_path, tmp_path)


@BOTH
def test_prepare_fetches_what_is_missing(tmp_path, monkeypatch, dataset, write):
    write(tmp_path)
    absent = dataset.files(tmp_path)[-1]
    content = absent.read_bytes()
    absent.unlink()
    monkeypatch.setattr(cifar, "download_archive", lambda _, root: absent.write_bytes(content))
    assert absent in dataset.prepare(tmp_path)


@BOTH
def test_download_without_network(tmp_path, monkeypatch, dataset, write):
    def offline(*_, **__):
        raise urllib.error.URLError("unreachable")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", offline)
    with pytest.raises(UserError, match=r"unreachable.*put its files into"):
        dataset.prepare(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(labels=c["labels"][:-1]), "20 images but 19 labels"),
        (lambda c: c.update(data=c["data"][:, :3000]), r"uint8 \(N, 3072\)"),
        (lambda c: c.update(data=c["data"] / 255), r"uint8 \(N, 3072\)"),
        (lambda c: c.update(labels=[10] * 20), "each of 0..9"),
        (lambda c: c.update(labels=[*c["labels"][1:], (c["labels"][0] + 1) % 10]), "same number of images"),
        (lambda c: c.pop("labels"), "no 'labels'"),
        (
            lambda c: c.update(data=np.repeat(c["data"], 500, 0), labels=c["labels"] * 500),
            "altered: its checksum is not the published 54ebc095",
        ),
    ],
)
def test_damage_is_found(tmp_path, change, words):
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    edit(path, change)
    with pytest.raises(UserError, match=words):
        CIFAR10.load("train", "images", tmp_path)
    assert (path, "bad") in CIFAR10.verify(tmp_path)


def test_a_test_split_that_lacks_a_class(tmp_path):
    write_cifar10(tmp_path)

    def without_frogs(content):
        keep = [i for i, label in enumerate(content["labels"]) if label != 6]
        content.update(data=content["data"][keep], labels=[content["labels"][i] for i in keep])

    edit(tmp_path / "cifar-10-batches-py" / "test_batch", without_frogs)
    with pytest.raises(UserError, match=r"test_batch: labels must hold each of 0\.\.9"):
        CIFAR10.load("test", "images", tmp_path)


def test_a_file_with_the_published_checksum_is_ok(tmp_path, monkeypatch):
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    own = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(cifar.CIFAR10_PYTHON.files["train"], "data_batch_2", own)
    assert (path, "ok") in CIFAR10.verify(tmp_path)


def test_one_training_image_of_each_class_cannot_be_split(tmp_path):
    write_cifar100(tmp_path, train_per_class=1)
    assert len(CIFAR100.load("trainval", "images", tmp_path)) == 100
    with pytest.raises(UserError, match="at least two training images of each class"):
        CIFAR100.load("val", "images", tmp_path)


def test_listing_and_contact_sheet(tmp_path):
    write_cifar10(tmp_path)
    assert overview(tmp_path).row_count >= 14
    assert "10/10/10" in describe("cifar10", tmp_path)
    assert "8142/-/8142" in describe("inaturalist2018", tmp_path)
    assert sum(line.startswith("ok") for line in verify("cifar10", tmp_path)) == 3
    assert min(sheet_of("cifar10", tmp_path).size) > 100
