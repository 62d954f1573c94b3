"""CIFAR's binary version: the same data as from the Python version, and what is wrong with damaged files."""

import numpy as np
import pytest
from real_formats import (
    FINE,
    write_cifar10,
    write_cifar10_binary,
    write_cifar100,
    write_cifar100_binary,
)

from sla_bench.cli.app import run_command_line
from sla_bench.data.cifar import CIFAR10, CIFAR100
from sla_bench.data.cifar100_few_shot import CIFAR_FS, FC100
from sla_bench.errors import UserError
from sla_bench.records.jobs import Fingerprints

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
    "empty": (lambda raw: b"", "is empty"),
    "a web page": (lambda raw: b"<html>404</html>", "a web page and not data"),
    "a pointer": (lambda raw: b"version https://git-lfs.github.com/spec/v1\n", "a pointer to a large file"),
    "unknown label": (lambda raw: set_byte(raw, 1, 100), r"labels must hold each of 0\.\.99, found 101"),
    "another label": (lambda raw: set_byte(raw, 1, (raw[1] + 1) % 100), "same number"),
    "as many as published": (lambda raw: raw * 100, "altered: its checksum is not the published e207cd2e"),
    "more than published": (lambda raw: raw * 101, "50,500 images, more than the 50,000 published"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("dataset", [CIFAR100, FC100], ids=lambda dataset: dataset.name)
def test_damage_is_found(tmp_path, dataset, damage):
    write_cifar100_binary(tmp_path)
    path = tmp_path / "cifar-100-binary" / "train.bin"
    change, words = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    by = dataset.splits_by[0]
    with pytest.raises(UserError, match=words) as caught:
        dataset.load("train", by, tmp_path)
    assert str(path) in str(caught.value)
    assert (path, "bad") in dataset.verify(tmp_path)


def test_damage_in_one_of_five_files(tmp_path):
    write_cifar10_binary(tmp_path)
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-3073])
    with pytest.raises(UserError, match=r"data_batch_1\.bin to data_batch_5\.bin is damaged: every class"):
        CIFAR10.load("train", "images", tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_3\.bin is truncated or damaged"):
        CIFAR10.load("train", "images", tmp_path)


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


def test_verify_on_the_command_line(tmp_path, capsys):
    write_cifar100_binary(tmp_path)
    for name in ("cifar100", "fc100", "cifar_fs"):
        assert run_command_line(["datasets", "verify", name, "--data-root", str(tmp_path)]) == 0
    assert "train: 360 images, 60 classes of 6" in capsys.readouterr().out
    path = tmp_path / "cifar-100-binary" / "test.bin"
    path.write_bytes(path.read_bytes()[:-7])
    for name in ("cifar100", "fc100", "cifar_fs"):
        assert run_command_line(["datasets", "verify", name, "--data-root", str(tmp_path)]) == 2
        assert f"{name}: 1 damaged or altered: {path}" in capsys.readouterr().err


def test_downloads_are_not_asked_for_where_the_binary_version_is(tmp_path, monkeypatch):
    write_cifar100_binary(tmp_path)
    for module in ("cifar", "cifar100_few_shot"):
        monkeypatch.setattr(
            f"sla_bench.data.{module}.download_archive", lambda *_: pytest.fail("it wants a download")
        )
    wanted = [tmp_path / "cifar-100-binary" / f"{part}.bin" for part in ("train", "test")]
    for dataset in (CIFAR100, FC100, CIFAR_FS):
        assert dataset.prepare(tmp_path) == wanted


def test_arrays_are_writable_and_contiguous(tmp_path):
    write_cifar100_binary(tmp_path)
    for dataset, by in ((CIFAR100, "images"), (FC100, "classes")):
        images = dataset.load("train", by, tmp_path).images
        assert images.flags.c_contiguous
        assert images.flags.writeable
        assert images.dtype == np.uint8
