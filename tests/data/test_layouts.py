"""Layouts on disk: which is found, when it is prepared, and what a prepared one is held against."""

import os
import shutil

import numpy as np
import pytest
import real_formats
from real_formats import SPLITS
from test_few_shot_files import LAYOUTS, as_multiset, names_of, pickles

from sla_bench.data import layouts, prepared
from sla_bench.data.cifar100_few_shot import CIFAR_FS, FC100
from sla_bench.data.few_shot_files import MINI_IMAGENET, TIERED_IMAGENET
from sla_bench.data.omniglot import OMNIGLOT
from sla_bench.errors import UserError


@pytest.mark.parametrize("layout", ["fc100 pickles", "tiered png", "mini easyfsl"])
def test_prepare_from_elsewhere_then_sources_may_go(tmp_path, layout):
    dataset, write = LAYOUTS[layout]
    source, data_root = tmp_path / "downloads", tmp_path / "data"
    written = write(source)
    paths = dataset.prepare(data_root, source)
    assert [path.name for path in paths] == ["train.npy", "val.npy", "test.npy"]
    shutil.rmtree(source)
    loaded = dataset.load("val", "classes", data_root)
    assert isinstance(loaded.images, np.memmap)
    assert as_multiset(loaded.images, names_of(loaded)) == as_multiset(*written["val"])
    before = paths[1].read_bytes()
    loaded.images[:] = 0
    assert paths[1].read_bytes() == before
    assert {status for _, status in dataset.verify(data_root)} == {"ok"}
    assert dataset.files(data_root) == paths


@pytest.mark.parametrize("folder", ["FC100", "."])
def test_source_may_be_the_folder_itself_or_what_contains_it(tmp_path, folder):
    pickles(tmp_path / "downloads", "fc100")
    FC100.prepare(tmp_path / "data", tmp_path / "downloads" / folder)
    assert FC100.load("test", "classes", tmp_path / "data").num_classes == 20


@pytest.mark.parametrize(
    "dataset", [FC100, CIFAR_FS, MINI_IMAGENET, OMNIGLOT, TIERED_IMAGENET], ids=lambda d: d.name
)
def test_nothing_there_names_every_layout(tmp_path, dataset):
    with pytest.raises(UserError) as caught:
        dataset.load("train", "classes", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(layout.name in message for layout in dataset.layouts)
    assert "http" in message
    assert dataset.files(tmp_path) == []
    assert dataset.verify(tmp_path) == []


def test_a_missing_part_is_named(tmp_path):
    pickles(tmp_path, "fc100")
    (tmp_path / "FC100" / "FC100_val.pickle").unlink()
    with pytest.raises(UserError, match=r"FC100_val\.pickle is missing; 2 of 3 parts"):
        FC100.load("train", "classes", tmp_path)


def test_folders_called_train_and_test_are_no_cifar_files(tmp_path):
    for split in SPLITS:
        (tmp_path / split).mkdir()
        (tmp_path / "cifar-100-python" / split).mkdir(parents=True)
    with pytest.raises(UserError, match="no files found"):
        FC100.load("train", "classes", tmp_path)


def test_images_of_the_same_classes_are_refused(tmp_path):
    with pytest.raises(UserError, match="few-shot learning only"):
        FC100.load("train", "images", tmp_path)


def test_large_sets_ask_to_be_prepared(tmp_path, monkeypatch):
    pickles(tmp_path, "fc100")
    monkeypatch.setattr(layouts, "DIRECT_LIMIT", 60 * 6 * 32 * 32 * 3 - 1)
    assert len(FC100.load("val", "classes", tmp_path)) == 120
    with pytest.raises(UserError, match="python -m sla_bench datasets prepare fc100"):
        FC100.load("train", "classes", tmp_path)
    FC100.prepare(tmp_path)
    assert isinstance(FC100.load("train", "classes", tmp_path).images, np.memmap)


def test_changed_sources_are_noticed_and_prepared_again(tmp_path):
    real_formats.write_tiered_png(tmp_path)
    maps = TIERED_IMAGENET.prepare(tmp_path)
    stamps = [path.stat().st_mtime_ns for path in maps]
    assert TIERED_IMAGENET.prepare(tmp_path) == maps
    assert [path.stat().st_mtime_ns for path in maps] == stamps
    labels = tmp_path / "tiered-imagenet" / "val_labels.pkl"
    os.utime(labels, ns=(1, 1))
    with pytest.raises(UserError, match="has changed since"):
        TIERED_IMAGENET.load("val", "classes", tmp_path)
    TIERED_IMAGENET.prepare(tmp_path)
    assert TIERED_IMAGENET.load("val", "classes", tmp_path).num_classes == 97
    assert [path.stat().st_mtime_ns == stamp for path, stamp in zip(maps, stamps, strict=True)] == [
        True,
        False,
        True,
    ]


def test_damaged_map_is_found_and_made_again(tmp_path):
    real_formats.write_r2d2(tmp_path)
    path = CIFAR_FS.prepare(tmp_path)[2]
    good = path.read_bytes()
    path.write_bytes(good[:-5] + b"12345")
    assert (path, "bad") in CIFAR_FS.verify(tmp_path)
    path.write_bytes(good[:-5])
    with pytest.raises(UserError, match="damaged"):
        CIFAR_FS.load("test", "classes", tmp_path)
    CIFAR_FS.prepare(tmp_path)
    assert path.read_bytes() == good


def test_too_little_space_is_said_before(tmp_path, monkeypatch):
    real_formats.write_r2d2(tmp_path)
    monkeypatch.setattr(prepared.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(UserError, match=r"needs .* GB"):
        CIFAR_FS.load("train", "classes", tmp_path)


def test_data_root_that_cannot_be_written(tmp_path):
    real_formats.write_r2d2(tmp_path)
    (tmp_path / "prepared").write_text("a file where a folder belongs")
    with pytest.raises(UserError, match="--data-root must name a folder that can be written"):
        CIFAR_FS.load("train", "classes", tmp_path)
