"""CIFAR-10's own Python files (Krizhevsky 2009): `cifar-10-batches-py/{data_batch_1..5,test_batch}`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sla_bench.datasets.array_files import load_dict, load_texts
from sla_bench.datasets.checksums import file_digest
from sla_bench.datasets.cifar100 import Part, images_of_rows
from sla_bench.datasets.download import RemoteArchive, RemoteFile
from sla_bench.datasets.sources import Promise, as_int_vector
from sla_bench.errors import UserError

FOLDER = "cifar-10-batches-py"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
# SHA-256 as in tensorflow.keras.datasets.cifar10.
_ARCHIVE = RemoteFile(URL, 170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce")
CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_IMAGES_PER_FILE = 10_000
_PER_CLASS: dict[Part, int] = {"train": 5000, "test": 1000}

# MD5 as in torchvision.datasets.CIFAR10.
_FILES: dict[Part, dict[str, str]] = {
    "train": {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
}
_META = "batches.meta"
_META_MD5 = "5ff9c542aee3614f3951f8cda6e48888"


ARCHIVE = RemoteArchive(_ARCHIVE, FOLDER, (*_FILES["train"], *_FILES["test"], _META))


def part_files(folder: Path, part: Part) -> list[Path]:
    """The files of one part, in the order of the images: five for "train", one for "test"."""
    return [folder / name for name in _FILES[part]]


def read_part(folder: Path, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Read the training or the test images.

    A file with as many images as published must have the published checksum. Smaller ones (some images of
    every class) must have equally many of each of the ten classes, all files of the part taken together.

    Args:
        folder: `cifar-10-batches-py`.
        part: "train" or "test".

    Returns:
        images uint8 (N, 32, 32, 3) and labels int64 (N,), in the order of the files.

    Raises:
        UserError: missing, damaged or altered.
    """
    batches = [_read_file(folder / name, md5) for name, md5 in _FILES[part].items()]
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    where = str(folder / next(iter(_FILES[part]))) if part == "test" else f"{folder / 'data_batch_'}1 to 5"
    if not np.array_equal(np.unique(labels), np.arange(len(CLASS_NAMES))):
        raise UserError(f"{where}: 'labels' must hold each of 0..9, found {np.unique(labels).tolist()}")
    Promise(32, _PER_CLASS[part]).check(images.shape, labels, CLASS_NAMES, where)
    _check_names(folder)
    return images, labels


def verify(folder: Path) -> list[tuple[Path, str]]:
    """Status of the six files, and of the names' where they are there."""
    results: list[tuple[Path, str]] = []
    for part, files in _FILES.items():
        try:
            read_part(folder, part)
            otherwise = "unknown"
        except UserError:
            otherwise = "bad"
        for name, md5 in files.items():
            path = folder / name
            intact = path.is_file() and file_digest(path, "md5") == md5
            results.append((path, "ok" if intact else otherwise))
    meta = folder / _META
    if meta.exists():
        try:
            _check_names(folder)
            results.append((meta, "ok" if file_digest(meta, "md5") == _META_MD5 else "unknown"))
        except UserError:
            results.append((meta, "bad"))
    return results


def _read_file(path: Path, md5: str) -> tuple[np.ndarray, np.ndarray]:
    content = load_dict(path, "data", "labels")
    images = images_of_rows(content["data"], path)
    labels = as_int_vector(content["labels"], str(path))
    if len(images) != len(labels):
        raise UserError(f"{path} is damaged: {len(images)} images but {len(labels)} labels")
    if len(images) >= _IMAGES_PER_FILE and file_digest(path, "md5") != md5:
        raise UserError(f"{path} was altered: its checksum is not the published {md5}; fetch {URL} again")
    return images, labels


def _check_names(folder: Path) -> None:
    meta = folder / _META
    if not meta.exists():
        return
    if load_texts(meta, "label_names") != CLASS_NAMES:
        raise UserError(f"{meta} was altered: its class names are not CIFAR-10's; fetch {URL} again")
