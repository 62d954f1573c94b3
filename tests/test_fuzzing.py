"""Almost valid files of each kind from outside are content, or one line that says what is wrong."""

import gzip
import hashlib
import io
import itertools
import json
import shutil
import signal
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import real_formats as rf
import torch
from deep_formats import deep_png, deep_tiff
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from made_up_records import write_records
from PIL import Image

from sla_bench.data.cifar import CIFAR100
from sla_bench.data.fashion_mnist import FASHION_MNIST
from sla_bench.data.few_shot_files import _LAYOUTS, TIERED_IMAGENET
from sla_bench.data.folder_layouts import list_folder
from sla_bench.data.folder_splits import split_listing
from sla_bench.data.images import decode, look_at
from sla_bench.data.listed_photographs import _read_cub, read_annotations
from sla_bench.data.splits import read_indices
from sla_bench.errors import UserError
from sla_bench.grids.files import read_grid_file
from sla_bench.models.weights import read_weights, weights_bytes
from sla_bench.records.checkpoints import FileCheckpoints
from sla_bench.records.exchange import export_records, import_records
from sla_bench.records.store import Store

FILES_ALONE = replace(
    FASHION_MNIST, layouts=(replace(FASHION_MNIST.layouts[0], folders=("FashionMNIST/raw",)),)
)
SECONDS = 20
"""Of the processor, for one input."""

TOKENS = st.sampled_from(
    [
        b"\0", b"\n", b",", b'"', b"/", b"../", b"/etc/passwd", b"-1", b"1e999", b"9" * 5000, b"\xff" * 64,
        b"\x1b[2J", b"x" * 5000, b"," * 200, b"nan", b"true", b"[" * 3000, b"{" * 300, "\u202e".encode(),
        b"&a ", b"*a", b"<<: *a\n", b"!!python/object/apply:os.system ['true']", b"- ", b": ", b"1:2",
        b"PK\x01\x02", b"IEND", b"|O", b"descr", b"cos\nsystem\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n",
        b"cbuiltins\ngetattr\n", b"R", b"b", b"\x81", b"\x85", b"\x93", b"0", b"2", b"]" * 200,
        b"\x8b\xff\xff\xff\x7f", b"\x95\xff\xff\xff\xff\xff\xff\xff\x00", b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    ]
)  # fmt: skip
KINDS = st.sampled_from(["flip", "put", "insert", "delete", "repeat", "cut"])
PLACES = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, 0.0001, 0.001, 0.999, 0.9999])
EDITS = st.lists(
    st.tuples(KINDS, PLACES, st.integers(0, 64), TOKENS | st.binary(max_size=8)), min_size=1, max_size=5
)


def edited(content, edits):
    for kind, place, length, new in edits:
        at = int(place * len(content)) if length % 3 else min(int(place * 400), len(content))
        before, after = content[:at], content[at:]
        content = {
            "flip": before + bytes(b ^ (1 << length % 8) for b in after[:1]) + after[1:],
            "put": before + new + after[len(new) :],
            "insert": before + new + after,
            "delete": before + after[length:],
            "repeat": before + after[:length] * 300 + after[length:],
            "cut": before,
        }[kind]
    return content


def in_gzip(content, edits):
    return gzip.compress(edited(gzip.decompress(content), edits), 1)


def in_zip(content, edits):
    """One member is edited, and its checksum is right."""
    buffer, which = io.BytesIO(), sum(length for _, _, length, _ in edits)
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for number, info in enumerate(old.infolist()):
            chosen = number == which % len(old.infolist())
            new.writestr(info.filename, edited(old.read(info), edits) if chosen else old.read(info))
    return buffer.getvalue()


def below_a_sum(content, edits):
    payload = edited(content[32:], edits)
    return hashlib.sha256(payload).digest() + payload


def files(write, *names):
    def prepare(root):
        write(root)
        return [path for name in names for path in sorted(root.glob(name))]

    return prepare


def two_blocks(source):
    return list(itertools.islice(source.blocks(), 2))


def write_images(root):
    image = Image.fromarray(rf.random_images(1, 24)[0])
    for suffix in ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm"):
        image.save(root / f"a.{suffix}")
    deep = (np.asarray(image).astype(np.uint16) * 4)[..., :1]
    (root / "b.png").write_bytes(deep_png(np.repeat(deep, 3, 2)))
    (root / "b.tif").write_bytes(deep_tiff(deep.astype(np.int32), signed=True))


def read_image(path):
    look_at(path, str(path))
    for fit in ("crop", "stretch", "pad"):
        decode(path, 16, fit, str(path))


def write_splits(root):
    rf.write_folder(root / "f", 8, 1, 8)
    rows = "".join(f"kind{i:02d}, {rf.SPLITS[i % 3]}\n" for i in range(8))
    (root / "f" / "splits.csv").write_text("class, split\n" + rows)


def write_positions(root):
    np.save(root / "a.npy", np.arange(20))
    (root / "a.json").write_text(json.dumps(list(range(20))))
    (root / "a.txt").write_text("".join(f"{i}\n" for i in range(20)))


def write_grid(root):
    (root / "grid.yaml").write_text(
        "grids:\n  - scenario: imbalanced\n    budget: smoke\n    dataset: cifar10\n    ratio: &r [10, 100]\n"
        "    method: [baseline, sla]\n    seed: [0, 1]\n"
    )


def write_archive(root):
    store, _ = write_records(root / "from", {"baseline": 0.5, "SLA+AG": 0.6})
    export_records([store], root / "records.zip")


def read_archive(path):
    shutil.rmtree(path.parent / "to", ignore_errors=True)
    import_records(path, path.parent / "to")
    Store(path.parent / "to", "fewshot").records()


def read_records(path):
    store = Store(next(parent for parent in path.parents if parent.name == "out"), "fewshot")
    store.records()
    store.unreadable()


def write_weights(root):
    state = {"members.0.a.weight": torch.ones(3, 4), "members.0.count": torch.tensor(3)}
    (root / "model.safetensors").write_bytes(weights_bytes(state))


def write_checkpoint(root):
    content = {"step": 1, "model": {"a": torch.ones(5)}, "rows": [{"x": 1.5}], "none": None, "text": "abc"}
    FileCheckpoints(root, 0).save(1, content)


CASES = {
    "pickle": (
        files(lambda r: rf.write_cifar100(r, 1, 1), "*/test", "*/meta"),
        lambda p: CIFAR100.load("test", "images", p.parents[1]),
    ),
    "binary": (
        files(lambda r: rf.write_cifar100_binary(r, 1, 1), "*/test.bin", "*/fine_label_names.txt"),
        lambda p: CIFAR100.load("test", "images", p.parents[1]),
    ),
    "pictures in a pickle": (
        files(rf.write_tiered_png, "tiered-imagenet/val_*.pkl"),
        lambda p: two_blocks(TIERED_IMAGENET.layouts[1].read(p.parent, "val")),
    ),
    "npz": (
        files(rf.write_tiered_npz, "tieredImageNet/val_*.npz"),
        lambda p: two_blocks(TIERED_IMAGENET.layouts[0].read(p.parent, "val")),
        in_zip,
    ),
    "idx": (
        files(lambda r: rf.write_fashion_mnist(r, 4, 1), "FashionMNIST/raw/train*"),
        lambda p: FILES_ALONE.load("trainval", "images", p.parents[2]),
        in_gzip,
    ),
    "images": (files(write_images, "*"), read_image),
    "text lists": (files(rf.write_cub200, "CUB_200_2011/*.txt"), lambda p: _read_cub(p.parent, "train")),
    "csv": (
        files(rf.write_mini_csv, "miniImageNet/test.csv"),
        lambda p: _LAYOUTS[2].read(p.parent, p.stem),
    ),
    "splits.csv": (
        files(write_splits, "f/splits.csv"),
        lambda p: split_listing(list_folder(p.parent), "train", "classes", 0),
    ),
    "json": (files(rf.write_inaturalist_json, "iNaturalist18/val2018.json"), read_annotations),
    "positions": (files(write_positions, "*"), read_indices),
    "grid": (files(write_grid, "*"), lambda p: read_grid_file(p).tasks()),
    "archive": (files(write_archive, "records.zip"), read_archive, in_zip),
    "records": (
        files(
            lambda r: write_records(r / "out", {"baseline": 0.5}),
            "out/**/*.json", "out/**/*.csv", "out/**/*.npz",
        ),
        read_records,
    ),
    "weights": (files(write_weights, "*"), read_weights),
    "checkpoint": (files(write_checkpoint, "*"), lambda p: FileCheckpoints(p.parent, 0).load(), below_a_sum),
}  # fmt: skip


class TooLongError(BaseException):
    """Neither a reader nor hypothesis takes it for an error of its own."""


def hang(*_):
    raise TooLongError


def fuzz(name, root, count):
    """The numbers of inputs that were refused and read."""
    prepare, read, *inner = CASES[name]
    good = [(path, path.read_bytes()) for path in prepare(root)]
    for path, _ in good:
        read(path)
    seen = {"refused": 0, "read": 0}
    before = signal.signal(signal.SIGPROF, hang)

    @seed(0)
    @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(good), EDITS, st.sampled_from([edited, *inner]))
    def run(file, edits, change):
        path, content = file
        path.write_bytes(change(content, edits))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        message = None
        try:
            read(path)
        except UserError as error:
            message = str(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            path.write_bytes(content)
        seen["read" if message is None else "refused"] += 1
        assert message is None or (message.isprintable() and len(message) <= 4000)

    try:
        with warnings.catch_warnings(action="ignore"):
            run()
    finally:
        signal.signal(signal.SIGPROF, before)
    return seen


@pytest.mark.parametrize("name", CASES)
def test_a_few_inputs_are_read_or_refused(name, tmp_path):
    seen = fuzz(name, tmp_path, 15)
    assert sum(seen.values()) == 15
    assert seen["refused"] or name in ("records", "checkpoint"), "whose damaged files are skipped"


@pytest.mark.campaign
@pytest.mark.parametrize("name", CASES)
def test_many_inputs_are_read_or_refused(name, tmp_path, capsys):
    seen = fuzz(name, tmp_path, 1000)
    with capsys.disabled():
        print(name, seen)  # noqa: T201
