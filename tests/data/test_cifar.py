"""CIFAR-10 and CIFAR-100 in their Python and their binary version."""

import hashlib
import pickle

import numpy as np
import pytest
import torchvision
from real_formats import (
    FINE,
    python2_pickle,
    write_cifar10,
    write_cifar10_binary,
    write_cifar100,
    write_cifar100_binary,
)

from sla_bench.data import cifar
from sla_bench.data.cifar import CIFAR10, CIFAR100
from sla_bench.data.cifar100_few_shot import CIFAR_FS, FC100
from sla_bench.data.overview import describe, overview, sheet_of, verify
from sla_bench.errors import UserError
from sla_bench.records.jobs import Fingerprints

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
def test_missing_files(tmp_path, dataset, write):
    with pytest.raises(UserError, match=r"no files found.*-python\.tar\.gz or .*-binary\.tar\.gz"):
        dataset.load("train", "images", tmp_path)
    write(tmp_path)
    path = dataset.files(tmp_path)[-1]
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} is missing; .*unpack"):
        dataset.load("train", "images", tmp_path)
    assert dataset.files(tmp_path) == dataset.verify(tmp_path) == []


@BOTH
def test_prepare_checks_what_is_there(tmp_path, dataset, write):
    write(tmp_path)
    paths = dataset.prepare(tmp_path)
    assert paths == dataset.files(tmp_path)
    assert {status for _, status in dataset.verify(tmp_path)} == {"unknown"}


@BOTH
def test_files_that_lie_elsewhere_become_maps(tmp_path, dataset, write):
    write(tmp_path / "downloads")
    maps = dataset.prepare(tmp_path / "data", tmp_path / "downloads")
    assert [path.name for path in maps] == ["train.npy", "test.npy"]
    for split in ("train", "val", "trainval", "test"):
        expected = dataset.load(split, "images", tmp_path / "downloads").checksum
        assert dataset.checksum(split, "images", tmp_path / "data") == expected


@BOTH
def test_prepare_fetches_what_is_missing(tmp_path, monkeypatch, dataset, write):
    write(tmp_path)
    absent = dataset.files(tmp_path)[-1]
    content = absent.read_bytes()
    absent.unlink()
    monkeypatch.setattr(cifar, "download_archive", lambda _, root: absent.write_bytes(content))
    assert absent in dataset.prepare(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(labels=c["labels"][:-1]), "20 images but 19 labels"),
        (lambda c: c.update(data=c["data"][:, :3000]), r"uint8 \(N, 3072\)"),
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


PAIRS = {
    "cifar10": (CIFAR10, "images", write_cifar10, write_cifar10_binary),
    "cifar100": (CIFAR100, "images", write_cifar100, write_cifar100_binary),
    "fc100": (FC100, "classes", write_cifar100, write_cifar100_binary),
    "cifar_fs": (CIFAR_FS, "classes", write_cifar100, write_cifar100_binary),
}
RECORD = 3074


@pytest.mark.parametrize("name", PAIRS)
def test_both_versions_have_the_same_hash(tmp_path, name):
    dataset, by, write_python, write_binary = PAIRS[name]
    write_python(tmp_path / "python")
    write_binary(tmp_path / "binary")
    python, binary = Fingerprints(tmp_path / "python"), Fingerprints(tmp_path / "binary")
    splits = ["train", "val", "test", *(["trainval"] if by == "images" else [])]
    hashes = [binary.of(name, split, by, 0) for split in splits]
    assert hashes == [python.of(name, split, by, 0) for split in splits]
    assert len(set(hashes)) == len(splits)
    assert {status for _, status in dataset.verify(tmp_path / "binary")} == {"unknown"}


def test_a_record_as_its_makers_describe_it(tmp_path):
    """Superclass, class, then all red, all green, all blue values, row by row."""
    written = write_cifar100_binary(tmp_path)
    raw = (tmp_path / "cifar-100-binary" / "test.bin").read_bytes()[5 * RECORD : 6 * RECORD]
    loaded = CIFAR100.load("test", "images", tmp_path)
    image = loaded.images[5]
    assert FINE[raw[1]] == loaded.class_names[loaded.labels[5]] == written["test"][1][5]
    assert (raw[2], raw[2 + 1024 + 3], raw[2 + 2048 + 32 * 7 + 1]) == (
        image[0, 0, 0],
        image[0, 3, 1],
        image[7, 1, 2],
    )


def set_byte(raw, position, value):
    return raw[:position] + bytes([value]) + raw[position + 1 :]


DAMAGES = {
    "cut inside a record": (lambda raw: raw[:-1], r"truncated or damaged: 1,536,999 bytes are not a whole"),
    "cut between records": (lambda raw: raw[:-RECORD], "same number of images"),
    "a web page": (lambda raw: b"<html>404</html>", "a web page and not data"),
    "unknown label": (lambda raw: set_byte(raw, 1, 100), r"labels must hold each of 0\.\.99, found 101"),
    "another label": (lambda raw: set_byte(raw, 1, (raw[1] + 1) % 100), "same number"),
    "as many as published": (lambda raw: raw * 100, "altered: its checksum is not the published e207cd2e"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("dataset", [CIFAR100, FC100], ids=lambda dataset: dataset.name)
def test_damage_of_the_binary_version_is_found(tmp_path, dataset, damage):
    write_cifar100_binary(tmp_path)
    path = tmp_path / "cifar-100-binary" / "train.bin"
    change, words = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    by = dataset.splits_by[0]
    with pytest.raises(UserError, match=words) as caught:
        dataset.load("train", by, tmp_path)
    assert str(path) in str(caught.value)
    assert (path, "bad") in dataset.verify(tmp_path)


@pytest.mark.parametrize("name", PAIRS)
def test_the_python_version_comes_first_if_it_is_complete(tmp_path, name):
    dataset, by, write_python, write_binary = PAIRS[name]
    write_python(tmp_path)
    write_binary(tmp_path)
    wanted = dataset.load("test", by, tmp_path).checksum
    python = dataset.files(tmp_path)
    assert not any(path.suffix for path in python)
    python[-1].unlink()
    assert all(path.suffix == ".bin" for path in dataset.files(tmp_path))
    assert dataset.load("test", by, tmp_path).checksum == wanted
