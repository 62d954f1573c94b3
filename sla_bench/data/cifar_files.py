"""CIFAR's files in either version, held against what is published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from sla_bench.data.checksums import file_digest
from sla_bench.data.restricted_pickle import what_is_wrong
from sla_bench.data.sources import Promise
from sla_bench.errors import UserError

Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")
SIZE = 32
_PIXELS = 3 * SIZE * SIZE


class PublishedFile(NamedTuple):
    """A file as its makers distribute it: name, hex checksum, number of images."""

    name: str
    checksum: str
    images: int


class Batch(NamedTuple):
    """Images uint8 (N, 32, 32, 3) and labels int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class CifarVersion:
    """CIFAR-10 or CIFAR-100 in one version, Python or binary. Both hold the same images in the same order.

    A file with as many images as published must have the published checksum. Smaller ones (some images of
    every class) must have equally many of each class, all files of a part taken together.

    Args:
        folder: where the archive unpacks to.
        url: of the archive.
        algorithm: of the checksums.
        files: the files of each part, in the order of their images.
        read: reads one file.
        class_names: by label.
    """

    folder: str
    url: str
    algorithm: str
    files: Mapping[Part, tuple[PublishedFile, ...]]
    read: Callable[[Path], Batch]
    class_names: tuple[str, ...]

    def part_files(self, base: Path, part: Part) -> list[Path]:
        """The files of a part below the folder `base`, whether or not they are there."""
        return [base / file.name for file in self.files[part]]

    def all_files(self, base: Path) -> list[Path]:
        """The files of both parts below the folder `base`, whether or not they are there."""
        return [path for part in PARTS for path in self.part_files(base, part)]

    def read_part(self, base: Path, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Read the training or the test images.

        Args:
            base: the unpacked folder.
            part: "train" or "test".

        Returns:
            images uint8 (N, 32, 32, 3) and labels int64 (N,), in the order of the files.

        Raises:
            UserError: missing, damaged or altered.
        """
        batches = [self._read_file(base / file.name, file) for file in self.files[part]]
        images = np.concatenate([b.images for b in batches]) if len(batches) > 1 else batches[0].images
        labels = np.concatenate([b.labels for b in batches])
        paths, classes = self.part_files(base, part), len(self.class_names)
        where = f"{paths[0]} to {paths[-1].name}" if len(paths) > 1 else str(paths[0])
        found = np.unique(labels)
        if not np.array_equal(found, np.arange(classes)):
            raise UserError(f"{where}: labels must hold each of 0..{classes - 1}, found {len(found)} values")
        published = sum(file.images for file in self.files[part])
        Promise(SIZE, published // classes).check(images.shape, labels, self.class_names, where)
        return images, labels

    def verify(self, base: Path) -> list[tuple[Path, str]]:
        """Status of the files."""
        results: list[tuple[Path, str]] = []
        for part in PARTS:
            intact = {base / f.name: self._is_published(base / f.name, f.checksum) for f in self.files[part]}
            otherwise = "ok"
            if not all(intact.values()):
                try:
                    self.read_part(base, part)
                    otherwise = "unknown"
                except UserError:
                    otherwise = "bad"
            results += [(path, "ok" if same else otherwise) for path, same in intact.items()]
        return results

    def _is_published(self, path: Path, checksum: str) -> bool:
        return path.is_file() and file_digest(path, self.algorithm) == checksum

    def _read_file(self, path: Path, published: PublishedFile) -> Batch:
        batch = self.read(path)
        if len(batch.images) != len(batch.labels):
            raise UserError(
                f"{path} is damaged: {len(batch.images)} images but {len(batch.labels)} labels; fetch "
                f"{self.url} again"
            )
        if len(batch.images) >= published.images and not self._is_published(path, published.checksum):
            raise UserError(
                f"{path} was altered: its checksum is not the published {published.checksum}; fetch "
                f"{self.url} again"
            )
        return batch


def images_of_rows(rows: Any, path: Path) -> np.ndarray:
    """Images that are stored as rows, all red, then all green, then all blue values.

    Args:
        rows: uint8 (N, 3072).
        path: for the message.

    Returns:
        uint8 (N, 32, 32, 3), a view.

    Raises:
        UserError: not such an array.
    """
    shape = (-1, _PIXELS)
    if (
        not isinstance(rows, np.ndarray)
        or rows.dtype != np.uint8
        or rows.ndim != 2
        or rows.shape[1] != _PIXELS
    ):
        raise UserError(f"{path}: 'data' must be an array of uint8 (N, {shape[1]})")
    return rows.reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1)


def read_records(num_labels: int, most: int, path: Path) -> Batch:
    """Read a file of the binary version.

    A record is the label of the superclass (CIFAR-100 only), the label, and the red, green and blue pixels.

    Args:
        num_labels: label bytes of a record, 1 or 2.
        most: images in the published file.
        path: the file.

    Raises:
        UserError: missing, unreadable, not a whole number of records, or more images than published.
    """
    record = num_labels + _PIXELS
    try:
        size = path.stat().st_size
        if not size or size % record:
            raise UserError(
                f"{path} is {what_is_wrong(path)}: {size:,} bytes are not a whole number of records of "
                f"{record:,}; fetch it again"
            )
        if size > most * record:
            raise UserError(
                f"{path} was altered: it has {size // record:,} images, more than the {most:,} published; "
                "fetch it again"
            )
        rows = np.fromfile(path, np.uint8).reshape(-1, record)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return Batch(images_of_rows(rows[:, num_labels:], path), rows[:, num_labels - 1].astype(np.int64))
