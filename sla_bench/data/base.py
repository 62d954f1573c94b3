"""Data sets, their properties, and the images they load; without torch."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from sla_bench.data.preparation import IN_THREADS, Preparation
from sla_bench.errors import UserError, unknown

Split = Literal["train", "val", "test", "trainval"]
"""trainval: all official training images, that is train and val together, in the order of the files."""
By = Literal["classes", "images"]
"""classes: splits have disjoint classes (few-shot); images: the same classes in each split."""
Fit = Literal["crop", "inner", "pad", "stretch"]
"""How an image of any size becomes a square, see `images.decode`."""
ClassOrder = Literal["identity", "permuted"]
"""Which class of a long-tailed subset is how large: by label, 0 the largest, or in a random order."""


@dataclass(frozen=True)
class LabeledImages:
    """Images with their labels, whatever the format on disk was.

    Args:
        images: uint8 (N, H, W, 3), array or memory map; grey images repeat their channel.
        labels: int64 (N,), values 0..C-1, every class at least once.
        class_names: C names; `class_names[k]` belongs to label k.
        grey: the three channels are equal.
        may_lack_classes: classes without an image are allowed, as in the test images of a long-tailed set.

    Raises:
        UserError: shapes, types or labels are not as described.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    grey: bool = False
    may_lack_classes: bool = False

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise UserError(f"images must be uint8 (N, H, W, 3), got {self.images.dtype} {self.images.shape}")
        if self.labels.shape != (len(self.images),) or self.labels.dtype != np.int64:
            raise UserError(
                f"labels must be int64 ({len(self.images)},), got {self.labels.dtype} {self.labels.shape}"
            )
        found, classes = np.unique(self.labels), np.arange(len(self.class_names))
        fitting = bool(len(found)) and bool(np.isin(found, classes).all())
        if not (fitting and self.may_lack_classes) and not np.array_equal(found, classes):
            raise UserError(
                f"labels must use each of 0..{len(self.class_names) - 1}; found {len(found)} values "
                f"from {found.min() if len(found) else '-'} to {found.max() if len(found) else '-'}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @cached_property
    def class_counts(self) -> np.ndarray:
        """Images of each class, int64 (C,)."""
        return np.bincount(self.labels, minlength=self.num_classes)

    @cached_property
    def checksum(self) -> str:
        """First 16 hex digits of the SHA-256 over class names, labels and pixels; it identifies the data."""
        starts = range(0, len(self.images), 4096)
        blocks = (self.images[start : start + 4096] for start in starts)
        return checksum_of(self.class_names, self.images.shape, self.labels, blocks)


def checksum_of(
    class_names: tuple[str, ...], shape: tuple[int, ...], labels: np.ndarray, blocks: Iterable[np.ndarray]
) -> str:
    """The checksum of images (N, H, W, 3) that come in blocks, see `LabeledImages.checksum`."""
    digest = hashlib.sha256(repr((class_names, tuple(shape))).encode())
    digest.update(np.ascontiguousarray(labels).data)
    for block in blocks:
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class ImageProperties:
    """How the images of a data set are normalised and augmented in training.

    Args:
        size: height = width in pixels.
        mean: per channel, in units of 0..1.
        std: per channel, in units of 0..1.
        crop_padding: pixels of zero padding before the random crop; 0 means no crop.
        flip: a horizontal flip keeps the class.
        jitter: strength of brightness, contrast and saturation jitter; 0 means none.
        grey: the images have one channel, repeated.
        fit: how image files of another size become images of this one.
        resized_crop: training sees random parts of the images, scaled to `size`; those may be larger than
            `size`. No padding then.
    """

    size: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    crop_padding: int = 4
    flip: bool = True
    jitter: float = 0.0
    grey: bool = False
    fit: Fit = "crop"
    resized_crop: bool = False


@dataclass(frozen=True)
class Dataset(ABC):
    """One data set: what it is, where its files come from, and how they become `LabeledImages`.

    Args:
        name: as in the registry.
        properties: size, normalisation and augmentation.
        origin: what to get from where into which folder, one sentence, for the error of missing files.
        classes: number of classes per split, of the kind that `splits_by` names first; empty if unknown
            before the files are read.
        splits_by: the kinds of split that exist.
        alternative: what to use for the kind that does not, for the error.
        class_order: the usual order of class sizes when a long-tailed subset is taken.
        group_thresholds: (many, few): classes of more than `many` training images are "many", those of fewer
            than `few` are "few"; None: the thresholds follow from the imbalance ratio.
        long_tailed: the training images are imbalanced as they are, and are used so by default.
    """

    name: str
    properties: ImageProperties
    origin: str
    classes: Mapping[Split, int] = field(default_factory=dict)
    splits_by: tuple[By, ...] = ("classes", "images")
    alternative: str = ""
    class_order: ClassOrder = "identity"
    group_thresholds: tuple[int, int] | None = None
    long_tailed: bool = False

    @property
    def changeable(self) -> bool:
        """People change the files between two commands, or while one runs; published files stay."""
        return False

    @property
    def split_depends_on_seed(self) -> bool:
        """`split_seed` chooses the classes of a split; most data sets have fixed ones."""
        return False

    @abstractmethod
    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split.

        Args:
            split: "train", "val" or "test"; by images also "trainval", train and val together.
            by: "classes": splits have disjoint classes (few-shot); "images": same classes in each split.
            data_root: the folder below which files lie as their makers name them.
            split_seed: chooses the split where the data set has no fixed one; ignored elsewhere.

        Raises:
            UserError: files are missing, damaged or altered, or the data set has no such split.
        """

    def checksum(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> str:
        """Return the checksum of one split, see `LabeledImages.checksum`; as `load` otherwise."""
        return self.load(split, by, data_root, split_seed).checksum

    def where(self, data_root: Path) -> Path:
        """The folder that the data lie in, for messages."""
        return data_root

    def check_split(self, split: str, by: str) -> None:
        """Refuse a split that this data set does not have.

        Raises:
            UserError: unknown name, a kind of split that is not in `splits_by`, or "trainval" by classes.
        """  # noqa: DOC501
        if split not in get_args(Split):
            raise unknown("split", split, get_args(Split))
        if by not in get_args(By):
            raise unknown("kind of split", by, get_args(By))
        if by not in self.splits_by:
            reason = (
                "has disjoint classes in its splits, so it serves few-shot learning only"
                if by == "images"
                else "has the same classes in training and test, so it does not serve few-shot learning"
            )
            raise UserError(f"{self.name} {reason}; {self.alternative}")
        if split == "trainval" and by == "classes":
            raise UserError(
                f"{self.name}: trainval joins train and val of the same classes, but by classes theirs are "
                "disjoint; take one of the two"
            )

    def ways_to_split(self, split: Split, data_root: Path, split_seed: int = 0) -> tuple[By, ...]:
        """The kinds of split by which `load` finds this split, as far as that is known without pixels."""
        del data_root, split_seed
        return tuple(by for by in self.splits_by if (split, by) != ("trainval", "classes"))

    def prepare(
        self, data_root: Path, source: Path | None = None, how: Preparation = IN_THREADS
    ) -> list[Path]:
        """Convert or render once what later loads need; returns the files that were made or found."""
        del source
        how.refuse_skip_bad(self.name)
        for split in self.classes:
            self.load(split, self.splits_by[0], data_root)
        return []

    def left_out(self, data_root: Path) -> dict[str, list[str]]:
        """Images that were left out because they can't be decoded, by the prepared part they would be in."""
        del data_root
        return {}

    def class_counts(self, data_root: Path) -> dict[Split, np.ndarray]:
        """Images of each class, int64 (C,), of the splits of which that is known without reading pixels."""
        del data_root
        return {}

    def remarks(self, data_root: Path, by: By | None = None) -> list[str]:
        """Sentences on its images that a user has to know before training on them; they are read for it.

        Args:
            data_root: as `load`.
            by: the kind of split; None: any that it has.

        Raises:
            UserError: as `load`.
        """
        del data_root, by
        return []

    def findings(self, data_root: Path, by: By) -> dict[str, Any]:
        """Facts on its images for the record of a training, by name; what is as usual is not in it."""
        del data_root, by
        return {}

    def pinned(self) -> Dataset:
        """The same data set with its files as they are now, so that several questions look for them once.

        Raises:
            UserError: the files cannot be understood.
        """
        return self

    def class_sizes(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> dict[str, int]:
        """Name of each class of a split -> images; arguments and errors as `load`."""
        images = self.load(split, by, data_root, split_seed)
        return dict(zip(images.class_names, images.class_counts.tolist(), strict=True))

    def image_files(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> list[str]:
        """The file of each image of a split, in the order of `load`; empty where images have no names."""
        del split, by, data_root, split_seed
        return []

    def not_used(self) -> dict[str, Any]:
        """Kind -> number and names of files that lie with the images and are not used, for records."""
        return {}

    def reading_lines(self, by: By, data_root: Path, split_seed: int = 0) -> list[str]:
        """Lines for the user: how the files were understood, and which are left out; arguments as `load`.

        Raises:
            UserError: the files cannot be understood.
        """
        del by, data_root, split_seed
        return []

    def files(self, data_root: Path) -> list[Path]:
        """The files of this data set that exist below `data_root`, in the layout that `load` would use."""
        del data_root
        return []

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare files with known checksums: (path, "ok", "unknown" or "bad") for each that exists."""
        return [(path, "unknown") for path in self.files(data_root)]

    def missing(self, data_root: Path) -> UserError:
        """The error for files that are not there."""
        return UserError(f"{self.name}: no files found below {data_root}; {self.origin}")
