"""Subsets of classes and images, drawn by seed or listed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sla_bench.data.arrays import load_npy
from sla_bench.data.base import LabeledImages, Split
from sla_bench.errors import UserError
from sla_bench.words import from_home


@dataclass(frozen=True)
class Subset:
    """Chosen images.

    Args:
        images: all of them.
        index: int64 (n,), positions of those that are chosen.
    """

    images: LabeledImages
    index: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """int64 (n,)."""
        labels: np.ndarray = self.images.labels[self.index]
        return labels

    @property
    def counts(self) -> np.ndarray:
        """int64 (N,), images of each class."""
        return np.bincount(self.labels, minlength=self.images.num_classes)

    @property
    def checksum(self) -> str:
        """First 16 hex digits of the SHA-256 of the chosen positions."""
        return index_checksum(self.index)


def index_checksum(index: np.ndarray) -> str:
    """First 16 hex digits of the SHA-256 of positions (n,) as little-endian int64."""
    return hashlib.sha256(np.ascontiguousarray(index, dtype="<i8").tobytes()).hexdigest()[:16]


MIN_CLASSES = 6
"""Fewer classes cannot be split into three parts of two."""


def class_split_sizes(num_classes: int) -> dict[Split, int]:
    """How many classes go to each split: 64/16/20 of 100 as in miniImageNet.

    With few classes validation and test get up to five, so that 5-way episodes are possible from 15 classes
    on, but never more than a third: 10 classes are split 4/3/3.

    Raises:
        ValueError: fewer than `MIN_CLASSES` classes.
    """
    if num_classes < MIN_CLASSES:
        raise ValueError(f"{num_classes} classes cannot be split, {MIN_CLASSES} are needed")
    floor = min(5, num_classes // 3)
    val = max(round(0.16 * num_classes), floor)
    test = max(round(0.20 * num_classes), floor)
    return {"train": num_classes - val - test, "val": val, "test": test}


def split_classes(num_classes: int, seed: int) -> dict[Split, np.ndarray]:
    """Disjoint classes for each split, int64 (n,), ascending; together all of 0..num_classes-1.

    Raises:
        ValueError: fewer than `MIN_CLASSES` classes.
    """
    sizes = class_split_sizes(num_classes)
    order = np.random.default_rng(seed).permutation(num_classes)
    parts = np.split(order, np.cumsum([sizes["train"], sizes["val"]]))
    return dict(zip(("train", "val", "test"), (np.sort(part) for part in parts), strict=True))


def split_images(
    labels: np.ndarray, fractions: Sequence[float], seed: int, smallest: int = 1
) -> list[np.ndarray]:
    """Split the images of every class at random in the same proportions.

    Args:
        labels: int64 (N,).
        fractions: of each part; they sum to 1.
        seed: chooses the images.
        smallest: classes of fewer images go to the first part as a whole.

    Returns:
        For each part the indices, int64 (n,), ascending. Every part gets at least one image of every class
        that is divided; what rounding leaves goes to the first.

    Raises:
        ValueError: a class has fewer images than there are parts.
    """
    generator = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    for label in np.unique(labels):
        index = generator.permutation(np.flatnonzero(labels == label))
        if len(index) < smallest:
            parts[0].append(index)
            continue
        if len(index) < len(fractions):
            raise ValueError(f"class {label} has {len(index)} images for {len(fractions)} parts")
        later = [max(1, round(fraction * len(index))) for fraction in fractions[1:]]
        while sum(later) >= len(index):
            later[int(np.argmax(later))] -= 1
        bounds = np.cumsum([len(index) - sum(later), *later[:-1]])
        for part, chosen in zip(parts, np.split(index, bounds), strict=True):
            part.append(chosen)
    return [np.sort(np.concatenate([np.arange(0), *part])) for part in parts]


def held_out(images: LabeledImages, split: Split, fraction: float, seed: int) -> LabeledImages:
    """The share of the training images of each class that is "val", or the rest, "train"."""
    train, val = split_images(images.labels, (1 - fraction, fraction), seed)
    index = train if split == "train" else val
    return replace(images, images=images.images[index], labels=images.labels[index])


_HASHED = re.compile(r"(.+)#([0-9a-f]{16})", re.DOTALL)


def with_hash(name: str) -> str:
    """Return "PATH#HASH" of a file of positions: its absolute path and the hash of what it says.

    Args:
        name: a path, which is read; or what this function has returned, which is taken as it is.

    Raises:
        UserError: as `read_indices`.
    """
    if _HASHED.fullmatch(name):
        return name
    path = from_home(name).absolute()
    return f"{path}#{index_checksum(read_indices(path))}"


def read_hashed(name: str) -> tuple[np.ndarray, Path]:
    """Return the positions of "PATH#HASH", int64 (n,) ascending, and the path.

    Raises:
        UserError: as `read_indices`; or the file says something else than it did.
    """
    found = _HASHED.fullmatch(name)
    path = Path(found[1] if found else name)
    index = read_indices(path)
    if found and index_checksum(index) != found[2]:
        raise UserError(
            f"--val-indices {path}: its positions have the hash {index_checksum(index)}, not {found[2]}; "
            "it has been changed since"
        )
    return index, path


def read_indices(path: Path) -> np.ndarray:
    """Read positions of images: int64 (n,), ascending.

    A .npy file holds an array of whole numbers (n,), a .json file a list of them, any other file one a line.
    The hash of the result is the same whatever the format and the order.

    Raises:
        UserError: the file can't be read, is empty, or says something else; a position is below 0 or is given
            twice.
    """  # noqa: DOC501
    try:
        values = _values(path)
        if values.ndim != 1 or values.dtype.kind not in "iu":
            raise ValueError(f"found {values.dtype} {values.shape}")
    except UnicodeDecodeError:
        what = "it is not text; write one position a line, or give a .npy or .json file"
        raise _wrong(path, what) from None
    except OSError as error:
        raise _wrong(path, f"it can't be read: {error.strerror or error}") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise _wrong(path, f"positions must be whole numbers: {error}") from None
    index = np.sort(values.astype(np.int64))
    if not len(index):
        raise _wrong(path, "it is empty")
    if index[0] < 0:
        raise _wrong(path, f"positions count from 0, found {index[0]}")
    repeated = index[1:][index[1:] == index[:-1]]
    if len(repeated):
        raise _wrong(path, f"position {repeated[0]} is given more than once")
    return index


def check_range(index: np.ndarray, num_images: int, path: Path) -> None:
    """Refuse positions of images that do not exist.

    Args:
        index: int64 (n,), ascending.
        num_images: how many exist.
        path: where the positions come from.

    Raises:
        UserError: a position is out of range.
    """  # noqa: DOC501
    if index[-1] >= num_images:
        raise _wrong(path, f"there are {num_images:,} training images, position {index[-1]} is out of range")


def _wrong(path: Path, what: str) -> UserError:
    return UserError(f"--val-indices {path}: {what}")


def _values(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return load_npy(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() == ".json":
        content = json.loads(text)
        if not isinstance(content, list) or not all(type(value) is int for value in content):
            raise ValueError("a JSON list of them is wanted")
        return np.array(content, np.int64)
    for number, line in enumerate(text.splitlines(), 1):
        if not re.fullmatch(r"\s*(-?[0-9]{1,20})?\s*", line):
            raise ValueError(f"line {number} is {line[:20]!r}")
    return np.array([int(word) for word in text.split()], np.int64)
