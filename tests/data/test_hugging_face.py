import importlib.util
import io
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sla_bench.data.folder import Folder
from sla_bench.data.folder_names import canonical_dataset
from sla_bench.data.named import dataset_named, load_dataset
from sla_bench.errors import UserError


def installed():
    """The library; a folder `datasets` in the working directory has no file of its own."""
    found = importlib.util.find_spec("datasets")
    return found is not None and found.origin is not None


pytestmark = pytest.mark.skipif(not installed(), reason="datasets is not installed (extra hf)")
CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def refuse(*_):
        raise AssertionError("a network connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def picture(seed, mode="RGB", size=(40, 30)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 4), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def table(count=24, first=0, labels=None, **columns):
    """A table of the library with typed columns; a picture of every mode is among its pictures."""
    import datasets

    modes = ("RGB", "L", "RGBA", "P")
    content = {
        "number": [0.5] * count,
        "photo": [{"bytes": picture(first + k, modes[k % 4]), "path": None} for k in range(count)],
        "species": [k % len(CLASSES) for k in range(count)] if labels is None else labels,
        **columns,
    }
    types = {
        "number": datasets.Value("float32"),
        "photo": datasets.Image(),
        "species": datasets.ClassLabel(names=list(CLASSES)),
    }
    types |= {name: datasets.Value("string") for name in columns}
    return datasets.Dataset.from_dict(content, features=datasets.Features(types))


def as_folder(path, rows, first=0):
    """The same pictures in class folders, in the order of the rows."""
    modes = ("RGB", "L", "RGBA", "P")
    for k in range(rows):
        file = path / CLASSES[k % len(CLASSES)] / f"{k:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(first + k, modes[k % 4]))
    return path


@pytest.mark.parametrize("kind", ["parquet", "folder of parquet", "saved", "class folders"])
def test_a_table_gives_what_the_same_pictures_in_folders_give(tmp_path, kind):
    folder = as_folder(tmp_path / "folders", 24)
    place = tmp_path / "place"
    if kind == "parquet":
        place = tmp_path / "pictures.parquet"
        table().to_parquet(place)
    elif kind == "folder of parquet":
        place.mkdir()
        table().to_parquet(place / "train.parquet")
    elif kind == "saved":
        table().save_to_disk(place)
    else:
        place = folder
    for split in ("trainval", "test"):
        ours = load_dataset(f"hf:{place}:32", split, "images", tmp_path / "data")
        same = load_dataset(f"folder:{folder}:32", split, "images", tmp_path / "data")
        assert ours.class_names == same.class_names == CLASSES
        assert np.array_equal(ours.labels, same.labels)
        assert np.array_equal(ours.images, same.images)
    assert load_dataset(f"hf:{place}:32", "test", "classes", tmp_path / "data").num_classes == 2


def saved_parts(path, **rows):
    import datasets

    parts = {name: table(count, first) for name, (count, first) in rows.items()}
    datasets.DatasetDict(parts).save_to_disk(path)
    return path


def test_splits_are_parts_and_can_be_named(tmp_path):
    place = saved_parts(tmp_path / "saved", train=(24, 0), validation=(6, 100), test=(18, 200))
    data = tmp_path / "data"
    found = {s: load_dataset(f"hf:{place}:16", s, "images", data) for s in ("train", "val", "test")}
    assert [len(of) for of in found.values()] == [24, 6, 18]
    # One split alone is divided; two leave the third to be held out.
    alone = load_dataset(f"hf:{place}:test:16", "trainval", "images", data)
    assert len(alone) + len(load_dataset(f"hf:{place}:test:16", "test", "images", data)) == 18
    two = load_dataset(f"hf:{place}:train+test:16", "test", "images", data)
    assert two.checksum == found["test"].checksum
    assert (
        "10 % of train held out"
        in dataset_named(f"hf:{place}:train+test:16").reading_lines("images", data)[0]
    )
    with pytest.raises(UserError, match="no split 'tset', only 'train', 'validation', 'test'"):
        load_dataset(f"hf:{place}:tset", "test", "images", data)
    other = saved_parts(tmp_path / "other", train=(12, 0), unlabelled=(6, 100))
    with pytest.raises(UserError, match=r"not train, validation and test; name those to read"):
        load_dataset(f"hf:{other}", "test", "images", data)


def test_columns_are_found_by_type_or_named(tmp_path):
    table(habitat=["sea", "land"] * 12).to_parquet(place := tmp_path / "a.parquet")
    data = tmp_path / "data"
    assert load_dataset(f"hf:{place}:16", "trainval", "images", data).class_names == CLASSES
    named = load_dataset(f"hf:{place}:16,label=habitat,flip=no", "trainval", "images", data)
    assert named.class_names == ("land", "sea")
    assert canonical_dataset(f"hf:{place}:16, flip=0,label=habitat") == f"hf:{place}:16,flip=no,label=habitat"
    with pytest.raises(UserError, match="column 'number' is not of labels"):
        load_dataset(f"hf:{place},label=number", "train", "images", data)
    with pytest.raises(UserError, match="has no column 'spices', of 'number', 'photo', 'species'"):
        load_dataset(f"hf:{place},label=spices", "train", "images", data)
    table(one=["a"] * 24, two=["b"] * 24).remove_columns("species").to_parquet(place)
    with pytest.raises(UserError, match=r"2 columns that may be the label.*write label=COLUMN"):
        load_dataset(f"hf:{place}", "train", "images", data)
    table().remove_columns("photo").to_parquet(place)
    with pytest.raises(UserError, match="no columns that may be the image"):
        load_dataset(f"hf:{place}", "train", "images", data)
    with pytest.raises(UserError, match="'photo' names a column, and a folder has none"):
        Folder("data,image=photo")


def test_a_changed_table_is_read_again_and_other_columns_are_other_data(tmp_path):
    place, data = tmp_path / "a.parquet", tmp_path / "data"
    table(even=["a", "b"] * 12).to_parquet(place)
    before, other = (
        dataset_named(f"hf:{place}:16{option}").checksum("train", "images", data)
        for option in ("", ",label=even")
    )
    table(first=50, even=["a", "b"] * 12).to_parquet(place)
    after = dataset_named(f"hf:{place}:16").checksum("train", "images", data)
    assert len({before, other, after}) == 3


def test_bad_rows_are_named_or_left_out(tmp_path):
    import datasets

    place, data = tmp_path / "a.parquet", tmp_path / "data"
    labels = [k % 6 if k else -1 for k in range(24)]
    table(labels=labels).to_parquet(place)
    dataset = dataset_named(f"hf:{place}:16")
    assert sum(dataset.class_sizes("trainval", "images", data).values()) < 23
    assert "left out: 1 picture without a label: train" in dataset.reading_lines("images", data)[-1]
    content = table().to_dict()
    content["photo"][7] = {"bytes": b"not a picture", "path": None}
    datasets.Dataset.from_dict(content, features=table().features).to_parquet(place)
    with pytest.raises(UserError, match="cannot read the image train/7"):
        load_dataset(f"hf:{place}:16", "train", "images", data)


def test_a_name_of_the_hub_is_read_from_the_cache_alone(tmp_path):
    import datasets

    with pytest.raises(UserError, match=r"downloads nothing: python -c .*load_dataset\('someone/Birds'\)"):
        load_dataset("hf:someone/Birds:32", "train", "images", tmp_path)
    # As the library leaves it after a download.
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "someone___birds" / "default" / "0.0.0" / "0123"
    rows = table()
    rows.to_parquet(tmp_path / "birds.parquet")
    builder = datasets.load_dataset_builder("parquet", data_files=str(tmp_path / "birds.parquet"))
    builder.download_and_prepare()
    folder.parent.mkdir(parents=True)
    Path(builder.cache_dir).rename(folder)
    found = load_dataset("hf:someone/Birds:32", "trainval", "images", tmp_path)
    assert found.class_names == CLASSES
    assert dataset_named("hf:someone/Birds").where(tmp_path) == folder


@pytest.mark.parametrize("content", [b"", b"PAR1 is not all", b"a,b\n1,2\n"])
def test_files_that_the_library_cannot_read_are_refused_in_a_line(tmp_path, content):
    (place := tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(UserError, match="the library datasets cannot read") as refusal:
        load_dataset(f"hf:{place}", "train", "images", tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_folder_with_a_script_runs_no_code(tmp_path):
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "birds.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match="scripts are no longer supported"):
        load_dataset(f"hf:{tmp_path / 'birds'}", "train", "images", tmp_path)
    assert not (tmp_path / "ran").exists()
