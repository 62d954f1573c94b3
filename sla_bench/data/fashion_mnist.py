"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): clothes in 10 classes, 28 x 28."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sla_bench.data.arrays import read_idx
from sla_bench.data.base import By, ImageProperties, LabeledImages, Split
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.downloads import RemoteFile, download
from sla_bench.data.layouts import Layout, LayoutDataset
from sla_bench.data.sources import Promise, SplitSource, array_blocks
from sla_bench.data.splits import split_classes
from sla_bench.errors import UserError

URL = "https://github.com/zalandoresearch/fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package dataset-fashion-mnist puts the files."""
CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_FOLDERS = ("FashionMNIST/raw", "fashion-mnist")


class _Part(NamedTuple):
    """Names of the files of images and of labels, SHA-256 of their unpacked contents, number of images."""

    names: tuple[str, str]
    sha256: tuple[str, str]
    images: int


# Packed with the makers' time stamps these contents have the MD5 sums that torchvision lists.
_PARTS: Mapping[Split, _Part] = {
    "train": _Part(
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        60_000,
    ),
    "test": _Part(
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        (
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        10_000,
    ),
}
_NAMES = [name for part in _PARTS.values() for name in part.names]
# The makers' repository; SHA-256 of the packed files as in torchvision's prototype data sets.
_ADDRESS = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
_PACKED = (
    (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
_REMOTE = tuple(
    RemoteFile(f"{_ADDRESS}/{name}.gz", *packed) for name, packed in zip(_NAMES, _PACKED, strict=True)
)


@dataclass(frozen=True)
class FashionMNIST(LayoutDataset):
    """Fashion-MNIST for few-shot learning and for classification.

    By classes, train and test images are joined and the ten classes are split 4/3/3 at random by
    `split_seed`: 3-way episodes. All test episodes of a split have the same three classes, so average over
    split seeds.
    By images, 500 training images of each class, chosen by `split_seed`, are the validation split; "trainval"
    is the training file as it is.
    """

    splits_by: tuple[By, ...] = ("classes", "images")

    @property
    def split_depends_on_seed(self) -> bool:
        """The ten classes have no published split."""
        return True

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split; see `Dataset.load`."""
        if by == "images":
            return replace(super().load(split, by, data_root, split_seed), grey=True)
        self.check_split(split, by)
        train, test = (self.stored(part, data_root) for part in self.splits)
        labels = np.concatenate([train.labels, test.labels])
        chosen = split_classes(len(CLASS_NAMES), split_seed)[split]
        index = np.flatnonzero(np.isin(labels, chosen))
        return LabeledImages(
            np.concatenate([train.images, test.images])[index],
            np.searchsorted(chosen, labels[index]),
            tuple(CLASS_NAMES[label] for label in chosen),
            grey=True,
        )

    def _check_count(self, source: SplitSource, split: Split, base: Path) -> None:
        """The files have all ten classes, which `_read` has checked."""


def _file(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return folder / name if not packed.is_file() and (folder / name).is_file() else packed


def _files(folder: Path, split: Split) -> list[Path]:
    return [_file(folder, name) for name in _PARTS[split].names]


def _read(folder: Path, split: Split) -> SplitSource:
    """The images of a part; as many as published only with the published contents."""
    part, paths = _PARTS[split], _files(folder, split)
    (images, _), (raw, _) = contents = [
        read_idx(path, ndim) for path, ndim in zip(paths, (3, 1), strict=True)
    ]
    for path, (_, digest), known in zip(paths, contents, part.sha256, strict=True):
        if len(images) >= part.images and digest != known:
            raise UserError(f"{path} was altered: its content is not the published; fetch it from {URL}")
    labels = raw.astype(np.int64)
    if not np.array_equal(np.unique(labels), np.arange(10)):
        raise UserError(f"{paths[1]} must hold each of the labels 0..9")
    if len(labels) < 30:
        raise UserError(f"{paths[0]} must hold at least three images of each class")
    shape = (len(images), *images.shape[1:], 3)
    Promise(28, part.images // 10).check(shape, labels, CLASS_NAMES, str(paths[0]))
    coloured = array_blocks(np.broadcast_to(images[..., None], shape))
    return SplitSource((len(images), 28, 28, 3), labels, CLASS_NAMES, coloured)


def _is_published(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    known = {
        name: digest for part in _PARTS.values() for name, digest in zip(part.names, part.sha256, strict=True)
    }
    with suppress(UserError):
        return read_idx(path, 3 if "images" in name else 1)[1] == known[name]
    return False


FASHION_MNIST = FashionMNIST(
    name="fashion_mnist",
    properties=ImageProperties(
        size=28, mean=(0.2860,) * 3, std=(0.3530,) * 3, crop_padding=2, flip=True, grey=True
    ),
    origin=(
        f"put the four gzipped idx files of {URL} into {_FOLDERS[0]} there, install the Debian package "
        f"dataset-fashion-mnist, or let `datasets prepare fashion_mnist` download them"
    ),
    classes=dict(zip(SPLITS, (4, 3, 3), strict=True)),
    class_order="permuted",
    layouts=(
        Layout(
            name="the four idx files, .gz or unpacked",
            folders=(*_FOLDERS, str(DEBIAN_FOLDER)),
            files=_files,
            read=_read,
            is_published=_is_published,
            splits=("train", "test"),
        ),
    ),
    fetch=lambda data_root: download(_REMOTE, data_root / _FOLDERS[0], URL),
    validation=1 / 12,  # 5,000 of 60,000
)
"""Fashion-MNIST; mean and deviation are those of the 60,000 training images."""
