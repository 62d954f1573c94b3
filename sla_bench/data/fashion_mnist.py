"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): clothes in 10 classes, 28 x 28."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sla_bench.data.arrays import read_idx
from sla_bench.data.base import By, Dataset, ImageProperties, LabeledImages, Split
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.downloads import RemoteFile, download
from sla_bench.data.preparation import IN_THREADS, Preparation
from sla_bench.data.sources import Promise
from sla_bench.data.splits import split_classes, split_images
from sla_bench.errors import UserError

URL = "https://github.com/zalandoresearch/fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package dataset-fashion-mnist puts the files."""
CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_FOLDERS = ("FashionMNIST/raw", "fashion-mnist")
_VALIDATION = 1 / 12  # 5,000 of 60,000


class _Part(NamedTuple):
    """Names of the files of images and of labels, SHA-256 of their unpacked contents, number of images."""

    names: tuple[str, str]
    sha256: tuple[str, str]
    images: int


# Packed with the makers' time stamps these contents have the MD5 sums that torchvision lists.
_TRAIN = _Part(
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    60_000,
)
_TEST = _Part(
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    10_000,
)
_NAMES = (*_TRAIN.names, *_TEST.names)
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
class FashionMNIST(Dataset):
    """Fashion-MNIST for few-shot learning and for classification.

    By classes, train and test images are joined and the ten classes are split 4/3/3 at random by
    `split_seed`: 3-way episodes. All test episodes of a split have the same three classes, so average over
    split seeds.
    By images, 500 training images of each class, chosen by `split_seed`, are the validation split; "trainval"
    is the training file as it is.
    """

    debian_folder: Path = DEBIAN_FOLDER

    @property
    def split_depends_on_seed(self) -> bool:
        """The ten classes have no published split."""
        return True

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split; see `Dataset.load`."""
        self.check_split(split, by)
        folder = self._folder(data_root)
        if folder is None:
            raise self._missing_files(data_root)
        if by == "classes":
            parts = [_read(folder, part) for part in (_TRAIN, _TEST)]
            images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            chosen = split_classes(len(CLASS_NAMES), split_seed)[split]
            index = np.flatnonzero(np.isin(labels, chosen))
            return _labeled(images[index], np.searchsorted(chosen, labels[index]), chosen)
        images, labels = _read(folder, _TEST if split == "test" else _TRAIN)
        if split in ("train", "val"):
            train, val = split_images(labels, (1 - _VALIDATION, _VALIDATION), split_seed)
            index = train if split == "train" else val
            images, labels = images[index], labels[index]
        return _labeled(images, labels, np.arange(len(CLASS_NAMES)))

    def prepare(
        self, data_root: Path, source: Path | None = None, how: Preparation = IN_THREADS
    ) -> list[Path]:
        """Check the files, or download them where they are not complete; nothing is converted.

        Raises:
            UserError: files are damaged, or no network; `source` or `skip_bad` is given (the
                files can simply lie there, and are no image files).
        """
        how.refuse_skip_bad(self.name)
        if source is not None:
            raise UserError(
                f"{self.name} needs no conversion: put its four idx files into {data_root / _FOLDERS[0]}"
            )
        if self._folder(data_root) is None:
            download(_REMOTE, data_root / _FOLDERS[0], URL)
        for part in (_TRAIN, _TEST):
            _read(self._folder(data_root) or data_root, part)
        return self.files(data_root)

    def files(self, data_root: Path) -> list[Path]:
        """The four idx files."""
        folder = self._folder(data_root)
        return [] if folder is None else [_file(folder, name) for name in _NAMES]

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare the files with the published content; "unknown" for smaller versions."""
        folder = self._folder(data_root)
        results: list[tuple[Path, str]] = []
        if folder is None:
            return results
        for part in (_TRAIN, _TEST):
            try:
                images, _ = _read(folder, part)
                status = "ok" if len(images) == part.images else "unknown"
            except UserError:
                status = "bad"
            results += [(_file(folder, name), status) for name in part.names]
        return results

    def _folder(self, data_root: Path) -> Path | None:
        return next((folder for folder in self._folders(data_root) if not _absent(folder)), None)

    def _folders(self, data_root: Path) -> list[Path]:
        return [*(data_root / folder for folder in _FOLDERS), self.debian_folder]

    def _missing_files(self, data_root: Path) -> UserError:
        for folder in self._folders(data_root):
            absent = _absent(folder)
            if len(absent) < len(_NAMES):
                return UserError(
                    f"{self.name}: {folder / absent[0]}.gz is missing; get it from {URL}, or let `datasets "
                    f"prepare {self.name}` download it"
                )
        return self.missing(data_root)


def _absent(folder: Path) -> list[str]:
    return [name for name in _NAMES if not _file(folder, name).is_file()]


def _file(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.is_file() else folder / name


def _read(folder: Path, part: _Part) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 28, 28) and labels int64 (N,); all of them only with the published contents."""
    paths = [_file(folder, name) for name in part.names]
    (images, *_), (raw, *_) = contents = [
        read_idx(path, ndim) for path, ndim in zip(paths, (3, 1), strict=True)
    ]
    if len(images) >= part.images:
        for path, (_, digest), known in zip(paths, contents, part.sha256, strict=True):
            if digest != known:
                raise UserError(f"{path} was altered: its content is not the published; fetch it from {URL}")
    labels = raw.astype(np.int64)
    if not np.array_equal(np.unique(labels), np.arange(10)):
        raise UserError(f"{paths[1]} must hold each of the labels 0..9")
    if len(labels) < 30:
        raise UserError(f"{paths[0]} must hold at least three images of each class")
    Promise(28, part.images // 10).check((*images.shape, 3), labels, CLASS_NAMES, str(paths[0]))
    return images, labels


def _labeled(grey: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> LabeledImages:
    images = np.repeat(grey[..., None], 3, axis=3)
    return LabeledImages(images, labels.astype(np.int64), tuple(CLASS_NAMES[c] for c in classes), grey=True)


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
)
"""Fashion-MNIST; mean and deviation are those of the 60,000 training images."""
