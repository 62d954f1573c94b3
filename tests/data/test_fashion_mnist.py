import dataclasses
import gzip

import numpy as np
import pytest
from real_formats import write_fashion_mnist, write_idx

from sla_bench.data import fashion_mnist
from sla_bench.data.arrays import read_idx
from sla_bench.data.fashion_mnist import CLASS_NAMES, DEBIAN_FOLDER, FASHION_MNIST
from sla_bench.errors import UserError

SPLITS = ("train", "val", "test")
_LAYOUT = dataclasses.replace(FASHION_MNIST.layouts[0], folders=("FashionMNIST/raw",))
LOCAL = dataclasses.replace(FASHION_MNIST, layouts=(_LAYOUT,))
needs_real_files = pytest.mark.skipif(
    not DEBIAN_FOLDER.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed"
)


def members(loaded):
    return sorted(
        (loaded.class_names[label], image.tobytes())
        for label, image in zip(loaded.labels, loaded.images, strict=True)
    )


def expected_members(*parts):
    return sorted(
        (CLASS_NAMES[int(name)], image.tobytes())
        for images, names in parts
        for name, image in zip(names, images, strict=True)
    )


def test_by_classes_joins_train_and_test(tmp_path):
    written = write_fashion_mnist(tmp_path)
    parts = [LOCAL.load(split, "classes", tmp_path) for split in SPLITS]
    assert [part.num_classes for part in parts] == [4, 3, 3]
    assert all(part.grey for part in parts)
    assert sorted(member for part in parts for member in members(part)) == expected_members(
        written["train"], written["test"]
    )


def test_by_images_keeps_the_published_test_images(tmp_path):
    written = write_fashion_mnist(tmp_path)
    train, val, test = (LOCAL.load(split, "images", tmp_path) for split in SPLITS)
    assert members(test) == expected_members(written["test"])
    assert sorted(members(train) + members(val)) == expected_members(written["train"])
    assert val.class_counts.tolist() == [2] * 10
    assert train.class_names == val.class_names == test.class_names == CLASS_NAMES


def test_split_seed(tmp_path):
    write_fashion_mnist(tmp_path)
    tests = {LOCAL.load("test", "classes", tmp_path, seed).class_names for seed in range(10)}
    assert len(tests) >= 8
    assert LOCAL.split_depends_on_seed
    a, b = (LOCAL.load("val", "images", tmp_path, seed).checksum for seed in (0, 1))
    assert a != b
    assert LOCAL.load("val", "images", tmp_path, 0).checksum == a


def test_unpacked_files_do_as_well(tmp_path):
    write_fashion_mnist(tmp_path)
    packed = LOCAL.load("train", "classes", tmp_path).checksum
    for path in list((tmp_path / "FashionMNIST" / "raw").iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert LOCAL.load("train", "classes", tmp_path).checksum == packed


def raw_folder(tmp_path):
    return tmp_path / "FashionMNIST" / "raw"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def test_damage_is_found(tmp_path):
    write_fashion_mnist(tmp_path)
    images = raw_folder(tmp_path) / "t10k-images-idx3-ubyte.gz"
    labels = raw_folder(tmp_path) / "t10k-labels-idx1-ubyte.gz"
    good = images.read_bytes()
    assert {status for _, status in LOCAL.verify(tmp_path)} == {"unknown"}
    cases = [
        (good[:-9], "truncated or damaged"),
        (good[:40] + bytes([good[40] ^ 1]) + good[41:], "truncated or damaged"),
        (b"<html>", "web page"),
        (labels.read_bytes(), "not an idx file of unsigned bytes with 3 dimensions"),
        (gzip.compress(gzip.decompress(good)[:-1]), "announced"),
    ]
    for raw, words in cases:
        images.write_bytes(raw)
        with pytest.raises(UserError, match=words):
            LOCAL.load("test", "images", tmp_path)
        assert (images, "bad") in LOCAL.verify(tmp_path)
    images.write_bytes(good)
    write_idx(labels, np.repeat(np.arange(10, dtype=np.uint8), 4)[:-1])
    with pytest.raises(UserError, match="40 images but 39 labels"):
        LOCAL.load("test", "images", tmp_path)
    write_idx(labels, np.array([0] * 5 + [1] * 3 + [2, 3, 4, 5, 6, 7, 8, 9] * 4, np.uint8))
    with pytest.raises(UserError, match="same number of images"):
        LOCAL.load("test", "images", tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match=r"no files found.*dataset-fashion-mnist"):
        LOCAL.load("train", "classes", tmp_path)
    write_fashion_mnist(tmp_path)
    (raw_folder(tmp_path) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte\.gz is missing"):
        LOCAL.load("train", "classes", tmp_path)
    assert LOCAL.files(tmp_path) == LOCAL.verify(tmp_path) == []


def test_prepare_fetches_what_is_missing(tmp_path, monkeypatch):
    write_fashion_mnist(tmp_path)
    absent = raw_folder(tmp_path) / "t10k-labels-idx1-ubyte.gz"
    content = absent.read_bytes()
    absent.unlink()

    def download(files, folder, url):
        assert [file.name for file in files if not (folder / file.name).exists()] == [absent.name]
        (folder / absent.name).write_bytes(content)

    monkeypatch.setattr(fashion_mnist, "download", download)
    assert absent in LOCAL.prepare(tmp_path)


def test_read_idx_knows_its_header(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes((0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3)) + bytes(range(6)))
    array, digest = read_idx(path, 2)
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert len(digest) == 64
    path.write_bytes(bytes((0, 0, 13, 2, 0, 0, 0, 2, 0, 0, 0, 3)) + bytes(24))
    with pytest.raises(UserError, match="not an idx file of unsigned bytes"):
        read_idx(path, 2)


@needs_real_files
def test_the_real_photographs(tmp_path):
    assert {status for _, status in FASHION_MNIST.verify(tmp_path)} == {"ok"}
    assert FASHION_MNIST.prepare(tmp_path) == FASHION_MNIST.files(tmp_path)
    train, val, test = (FASHION_MNIST.load(split, "images", tmp_path) for split in SPLITS)
    assert [set(part.class_counts.tolist()) for part in (train, val, test)] == [{5500}, {500}, {1000}]
    pixels = np.concatenate([part.images[..., 0] for part in (train, val)]) / 255
    assert pixels.mean() == pytest.approx(FASHION_MNIST.properties.mean[0], abs=1e-4)
    assert pixels.std() == pytest.approx(FASHION_MNIST.properties.std[0], abs=1e-4)
    boot = test.images[0, ..., 0]
    assert test.class_names[test.labels[0]] == "Ankle boot"
    assert boot[:7].max() == 0 < boot[20].max()


@needs_real_files
def test_an_altered_real_file_is_found(tmp_path):
    folder = raw_folder(tmp_path)
    folder.mkdir(parents=True)
    for path in DEBIAN_FOLDER.glob("*.gz"):
        (folder / path.name).symlink_to(path)
    path = folder / "t10k-images-idx3-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[5000] ^= 1
    path.unlink()
    path.write_bytes(gzip.compress(bytes(content), 1))
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte\.gz was altered"):
        LOCAL.load("test", "images", tmp_path)
