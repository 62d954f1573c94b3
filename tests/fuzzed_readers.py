"""Readers of files from outside, with a good file for each."""

import contextlib
import hashlib
import itertools
import json
import shutil
import sqlite3
from dataclasses import dataclass

import mutations as m
import numpy as np
import real_formats as rf
from deep_formats import deep_png, deep_tiff
from made_up_records import write_records
from PIL import Image

from sla_bench.data.cifar import CIFAR10, CIFAR100
from sla_bench.data.cifar100_few_shot import FC100
from sla_bench.data.few_shot_files import _LAYOUTS, TIERED_IMAGENET
from sla_bench.data.folder_layouts import list_folder
from sla_bench.data.folder_splits import split_listing
from sla_bench.data.imagenet import _by_solution
from sla_bench.data.images import decode, look_at
from sla_bench.data.listed_photographs import _read_cub, read_annotations
from sla_bench.data.pickles import load_pickle
from sla_bench.data.splits import read_indices
from sla_bench.grids.files import read_grid_file
from sla_bench.records.exchange import export_records, import_records
from sla_bench.records.store import Store
from sla_bench.tables.leaderboard import leaderboard


@dataclass(frozen=True)
class Reader:
    """One reader.

    `prepare(root)` writes good files and returns those that are changed; `read(path)` reads; `tokens` are put
    into the bytes; `inner` edits below a packing; `tree`: the file is JSON; `slow`: fewer inputs.
    """

    prepare: object
    read: object
    tokens: object
    inner: object = None
    tree: bool = False
    slow: bool = False


def _files(write, *names):
    def prepare(root):
        write(root)
        return [path for name in names for path in sorted(root.glob(name))]

    return prepare


def _blocks(source):
    for _ in itertools.islice(source.blocks(), 2):
        pass


def _root(path, levels):
    return path.parents[levels]


def _tiered(path):
    layout = TIERED_IMAGENET.layouts[0 if path.parent.name == "tieredImageNet" else 1]
    _blocks(layout.read(path.parent, "val"))


def _image_files(root):
    root.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(rf.random_images(1, 24)[0])
    for suffix, kind in (("png", "PNG"), ("jpg", "JPEG"), ("bmp", "BMP"), ("gif", "GIF"), ("tif", "TIFF"),
                         ("webp", "WEBP"), ("ppm", "PPM")):  # fmt: skip
        image.save(root / f"a.{suffix}", kind)
    image.convert("P").save(root / "b.png", transparency=0)
    image.save(root / "b.tif", compression="tiff_lzw")
    deep = (np.asarray(image).astype(np.uint16) * 4)[..., :1]
    (root / "c.png").write_bytes(deep_png(np.repeat(deep, 3, 2)))
    (root / "d.png").write_bytes(deep_png(np.repeat(deep, 2, 2)))
    (root / "c.tif").write_bytes(deep_tiff(np.repeat(deep, 3, 2)))
    (root / "d.tif").write_bytes(deep_tiff(deep.astype(np.int32), signed=True))
    return sorted(root.iterdir())


def _pngs(root):
    return [path for path in _image_files(root) if path.suffix == ".png"]


def _decode(path):
    look_at(path, str(path))
    for fit in ("crop", "stretch", "pad"):
        decode(path, 16, fit, str(path))


def _mini_rows(path):
    _LAYOUTS[2].read(path.parent, path.stem)


def _folder(root):
    rf.write_folder(root / "f", 8, 1, 8)
    rows = "".join(f"kind{i:02d}, {rf.SPLITS[i % 3]}\n" for i in range(8))
    (root / "f" / "splits.csv").write_text("class, split\n" + rows)
    return [root / "f" / "splits.csv"]


def _split_folder(path):
    split_listing(list_folder(path.parent), "train", "classes", 0)


def _solution(root):
    rf.write_imagenet(root, "kaggle")
    return [root / "imagenet" / "LOC_val_solution.csv"]


def _indices(root):
    root.mkdir(parents=True, exist_ok=True)
    np.save(root / "a.npy", np.arange(20))
    (root / "a.json").write_text(json.dumps(list(range(20))))
    (root / "a.txt").write_text("".join(f"{i}\n" for i in range(20)))
    return sorted(root.iterdir())


GRID = """
grids:
  - scenario: imbalanced
    budget: smoke
    dataset: cifar10
    ratio: &r [10, 100]
    method: [baseline, sla]
    seed: [0, 1]
"""


def _grid(root):
    root.mkdir(parents=True, exist_ok=True)
    (root / "grid.yaml").write_text(GRID)
    return [root / "grid.yaml"]


def _exported(root):
    store, _ = write_records(root / "from", {"baseline": 0.5, "SLA+AG": 0.6})
    export_records([store], root / "records.zip")
    return [root / "records.zip"]


def _import(path):
    shutil.rmtree(path.parent / "to", ignore_errors=True)
    import_records(path, path.parent / "to")
    Store(path.parent / "to", "fewshot").records()


def _recorded(suffixes):
    def prepare(root):
        write_records(root / "out", {"baseline": 0.5})
        return [path for path in sorted((root / "out").rglob("*")) if path.suffix in suffixes]

    return prepare


def _records(path):
    out = next(parent for parent in path.parents if parent.name == "out")
    store = Store(out, "fewshot")
    for record in store.records():
        for evaluation in record.evaluations:
            with contextlib.suppress(ValueError):
                _ = evaluation.samples
    store.unreadable()


def _cache(root):
    store, _ = write_records(root / "out", {"baseline": 0.5, "SLA+AG": 0.6})
    assert len(store.records()) == 2
    return [store.cache_file]


def _cached(path):
    from sla_bench.tables.row_cache import leaderboard_of

    store = Store(path.parents[1], "fewshot")
    assert len(store.records()) == 2
    assert len(leaderboard_of(store)) == len(leaderboard(store.records()))
    with contextlib.closing(sqlite3.connect(path)) as database:  # it is a cache again
        database.execute("SELECT count(*) FROM cached").fetchone()


def _weights(root):
    import torch

    from sla_bench.models.weights import weights_bytes

    root.mkdir(parents=True, exist_ok=True)
    state = {"members.0.a.weight": torch.ones(3, 4), "members.0.count": torch.tensor(3)}
    (root / "model.safetensors").write_bytes(weights_bytes(state))
    return [root / "model.safetensors"]


def _read_weights(path):
    import torch
    from torch import nn

    from sla_bench.models.weights import put_weights, read_weights
    from sla_bench.scenarios.base import member_states

    model = nn.Module()
    model.a = nn.Linear(4, 3, bias=False)
    model.register_buffer("count", torch.tensor(0))
    for member in member_states(read_weights(path)):
        put_weights(model, member)


def _checkpoint(root):
    import torch

    from sla_bench.records.checkpoints import FileCheckpoints

    content = {"step": 1, "model": {"a": torch.ones(5)}, "rows": [{"x": 1.5}], "none": None, "text": "abc"}
    FileCheckpoints(root, 0).save(1, content)
    return sorted(root.iterdir())


def _signed(content, changes):
    payload = m.edited(content[32:], changes)
    return hashlib.sha256(payload).digest() + payload


def _read_checkpoint(path):
    from sla_bench.records.checkpoints import FileCheckpoints

    FileCheckpoints(path.parent, 0).load()


def _run_folder(root):
    from trained_runs import random_run

    folder = random_run(root)
    return [folder / name for name in ("config.json", "done.json")]


def _classifier(path):
    from sla_bench.records.saved_classifier import load_classifier

    load_classifier(path.parent)


def _local():
    from dataclasses import replace

    from sla_bench.data.fashion_mnist import FASHION_MNIST

    layout = replace(FASHION_MNIST.layouts[0], folders=("FashionMNIST/raw",))
    return replace(FASHION_MNIST, layouts=(layout,))


def _protocols(root):
    import collections
    import pickle

    root.mkdir(parents=True, exist_ok=True)
    value = {
        "a": np.arange(6, dtype=np.uint8).reshape(2, 3), "f": np.asfortranarray(np.ones((2, 3))),
        "t": np.array(["ab"]),
        "s": np.int64(7), "l": [(1, 2.5, True, None), {"x"}, frozenset({3})], "b": b"\x00\xff", "n": b"",
        "o": collections.OrderedDict(a=1), "d": collections.defaultdict(list, a=[1]), "y": bytearray(b"abc"),
    }  # fmt: skip
    for protocol in range(6):
        (root / f"{protocol}.pickle").write_bytes(pickle.dumps(value, protocol))
    (root / "python2.pickle").write_bytes(rf.python2_pickle({"data": value["a"], "labels": [1, 2]}))
    return sorted(root.iterdir())


READERS = {
    "cifar10": Reader(
        _files(lambda r: rf.write_cifar10(r, 5, 1), "*/data_batch_1", "*/batches.meta"),
        lambda p: CIFAR10.load("trainval", "images", _root(p, 1)),
        m.PICKLE,
    ),
    "cifar100": Reader(
        _files(lambda r: rf.write_cifar100(r, 1, 1), "*/test", "*/meta"),
        lambda p: CIFAR100.load("test", "images", _root(p, 1)),
        m.PICKLE,
    ),
    "cifar binary": Reader(
        _files(lambda r: rf.write_cifar100_binary(r, 1, 1), "*/test.bin", "*/fine_label_names.txt"),
        lambda p: CIFAR100.load("test", "images", _root(p, 1)),
        m.BINARY | m.TEXT,
    ),
    "fc100 pickle": Reader(
        _files(lambda r: rf.write_category_pickles(r, "fc100", 1), "FC100/*_val.pickle"),
        lambda p: FC100.layouts[1].read(p.parent, "val"),
        m.PICKLE,
    ),
    "mini cache": Reader(
        _files(lambda r: rf.write_mini_cache(r / "m", 1), "m/*-test.pkl"),
        lambda p: _blocks(_LAYOUTS[1].read(p.parent, "test")),
        m.PICKLE,
        slow=True,
    ),
    "tiered png": Reader(
        _files(rf.write_tiered_png, "tiered-imagenet/val_*.pkl"), _tiered, m.PICKLE, slow=True
    ),
    "pickle protocols": Reader(_protocols, load_pickle, m.PICKLE),
    "tiered npz": Reader(
        _files(rf.write_tiered_npz, "tieredImageNet/val_*"), _tiered, m.BINARY, m.in_zip, slow=True
    ),
    "idx": Reader(
        _files(lambda r: rf.write_fashion_mnist(r, 4, 1), "FashionMNIST/raw/*"),
        lambda p: _local().load("trainval", "images", p.parents[2]),
        m.BINARY,
        m.in_gzip,
    ),
    "images": Reader(_image_files, _decode, m.BINARY),
    "png chunks": Reader(_pngs, _decode, m.BINARY, m.in_png),
    "cub lists": Reader(
        _files(rf.write_cub200, "CUB_200_2011/*.txt"), lambda p: _read_cub(p.parent, "train"), m.TEXT
    ),
    "mini csv": Reader(_files(rf.write_mini_csv, "miniImageNet/test.csv"), _mini_rows, m.TEXT),
    "folder csv": Reader(_folder, _split_folder, m.TEXT),
    "kaggle csv": Reader(
        _solution,
        lambda p: _by_solution(p.parent / "ILSVRC/Data/CLS-LOC/val", p, tuple(f"n{k:08d}" for k in range(3))),
        m.TEXT,
    ),
    "inaturalist json": Reader(
        _files(rf.write_inaturalist_json, "iNaturalist18/val2018.json"), read_annotations, m.TEXT, tree=True
    ),
    "positions": Reader(_indices, read_indices, m.TEXT | m.BINARY),
    "grid yaml": Reader(_grid, lambda p: read_grid_file(p).tasks(), m.YAML),
    "record archive": Reader(_exported, _import, m.BINARY | m.TEXT, m.in_zip),
    "record json": Reader(_recorded({".json"}), _records, m.TEXT, tree=True),
    "record files": Reader(_recorded({".csv", ".npz"}), _records, m.TEXT | m.BINARY),
    "cache": Reader(_cache, _cached, m.BINARY | m.TEXT, slow=True),
    "weights": Reader(_weights, _read_weights, m.TEXT),
    "checkpoint": Reader(_checkpoint, _read_checkpoint, m.PICKLE, _signed),
    "classifier": Reader(_run_folder, _classifier, m.TEXT, tree=True, slow=True),
}
