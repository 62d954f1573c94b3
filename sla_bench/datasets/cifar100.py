"""CIFAR-100's own Python files (Krizhevsky 2009): `cifar-100-python/{train,test,meta}`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sla_bench.datasets.array_files import load_dict, load_texts
from sla_bench.datasets.checksums import file_digest
from sla_bench.datasets.class_lists import cifar100_names
from sla_bench.datasets.download import RemoteArchive, RemoteFile
from sla_bench.datasets.sources import Promise, as_int_vector
from sla_bench.errors import UserError

FOLDER = "cifar-100-python"
URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
# SHA-256 as in tensorflow.keras.datasets.cifar100.
_ARCHIVE = RemoteFile(URL, 169_001_437, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7")
ARCHIVE = RemoteArchive(_ARCHIVE, FOLDER, ("train", "test", "meta"))
Part = Literal["train", "test"]


@dataclass(frozen=True)
class _Published:
    md5: str
    images: int


# MD5 as in torchvision.datasets.CIFAR100.
_FILES: dict[Part, _Published] = {
    "train": _Published("16019d7e3df5f24257cddd939b257f8d", 50_000),
    "test": _Published("f0ef6b0ae62326f3e7ffdfab6717acfc", 10_000),
}
_META_MD5 = "7973b15100ade9c7d40fb424638fde48"


def images_of_rows(rows: Any, path: Path) -> np.ndarray:
    """Images that are stored as rows, all red, then all green, then all blue values.

    Args:
        rows: uint8 (N, 3072).
        path: for the message.

    Returns:
        uint8 (N, 32, 32, 3), a view.

    Raises:
        UserError: no such array.
    """
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072:
        raise UserError(f"{path}: 'data' must be an array of uint8 (N, 3072)")
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def read_part(folder: Path, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Read one of the two files.

    A file with as many images as published must have the published checksum. A smaller one (some images of
    every class) must have equally many of each of the 100 classes, and each class its own superclass.

    Args:
        folder: `cifar-100-python`.
        part: "train" or "test".

    Returns:
        images uint8 (N, 32, 32, 3) and fine labels int64 (N,).

    Raises:
        UserError: missing, damaged or altered.
    """
    path = folder / part
    content = load_dict(path, "data", "fine_labels")
    images = images_of_rows(content["data"], path)
    labels = as_int_vector(content["fine_labels"], str(path))
    published = _FILES[part]
    if len(images) >= published.images and file_digest(path, "md5") != published.md5:
        raise UserError(
            f"{path} was altered: its checksum is not the published {published.md5}; fetch {URL} again"
        )
    names = cifar100_names()
    if not np.array_equal(np.unique(labels), np.arange(100)):
        raise UserError(
            f"{path}: 'fine_labels' must hold each of 0..99, found {len(np.unique(labels))} values"
        )
    Promise(32, published.images // 100).check(images.shape, labels, names.fine, str(path))
    if "coarse_labels" in content:
        coarse = as_int_vector(content["coarse_labels"], str(path))
        if not np.array_equal(coarse, np.asarray(names.fine_to_coarse)[labels]):
            raise UserError(f"{path} was altered: classes and superclasses do not fit each other")
    _check_names(folder)
    return images, labels


def verify(folder: Path) -> list[tuple[Path, str]]:
    """Status of the three files."""
    results: list[tuple[Path, str]] = []
    for part, published in _FILES.items():
        path = folder / part
        status = "ok"
        if not path.exists() or file_digest(path, "md5") != published.md5:
            try:
                read_part(folder, part)
                status = "unknown"
            except UserError:
                status = "bad"
        results.append((path, status))
    meta = folder / "meta"
    if meta.exists():
        if file_digest(meta, "md5") == _META_MD5:
            results.append((meta, "ok"))
        else:
            try:
                _check_names(folder)
                results.append((meta, "unknown"))
            except UserError:
                results.append((meta, "bad"))
    return results


def _check_names(folder: Path) -> None:
    meta = folder / "meta"
    if not meta.exists():
        return
    if load_texts(meta, "fine_label_names") != cifar100_names().fine:
        raise UserError(f"{meta} was altered: its class names are not CIFAR-100's; fetch {URL} again")
