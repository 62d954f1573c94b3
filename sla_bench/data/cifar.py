"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50,000 and 10,000 images, 32 x 32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sla_bench.data.base import ImageProperties, Split
from sla_bench.data.class_lists import cifar100_names
from sla_bench.data.downloads import RemoteArchive, RemoteFile, download_archive
from sla_bench.data.kept import file_digest
from sla_bench.data.layouts import Layout, LayoutDataset
from sla_bench.data.pickles import load_dict, what_is_wrong
from sla_bench.data.sources import Promise, SplitSource, array_blocks, as_int_vector
from sla_bench.errors import UserError

PARTS: tuple[Split, ...] = ("train", "test")
SIZE = 32
_PIXELS = 3 * SIZE * SIZE


Batch = tuple[np.ndarray, np.ndarray]
"""Images uint8 (N, 32, 32, 3) and labels int64 (N,)."""


@dataclass(frozen=True)
class CifarVersion:
    """CIFAR-10 or CIFAR-100 in one version, Python or binary. Both hold the same images in the same order.

    A file with as many images as published must have the published checksum. Smaller ones (some images of
    every class) must have equally many of each class, all files of a part taken together.

    Args:
        folder: where the archive unpacks to.
        url: of the archive.
        algorithm: of the checksums.
        files: of each part name -> hex checksum, in the order of their images.
        images: of each file of a part, as published.
        read: reads one file.
        class_names: by label.
    """

    folder: str
    url: str
    algorithm: str
    files: Mapping[Split, Mapping[str, str]]
    images: Mapping[Split, int]
    read: Callable[[Path], Batch]
    class_names: tuple[str, ...]

    def files_of(self, base: Path, *parts: Split) -> list[Path]:
        """The files of some parts below the folder `base`, whether or not they are there."""
        return [base / name for part in parts for name in self.files[part]]

    def read_part(self, base: Path, part: Split) -> Batch:
        """Read the training or the test images in the order of the files.

        Args:
            base: the unpacked folder.
            part: "train" or "test".

        Raises:
            UserError: missing, damaged or altered.
        """
        paths, classes = self.files_of(base, part), len(self.class_names)
        batches = zip(*(self._read_file(path, part) for path in paths), strict=True)
        images, labels = (np.concatenate(arrays) if len(paths) > 1 else arrays[0] for arrays in batches)
        where = f"{paths[0]} to {paths[-1].name}" if len(paths) > 1 else str(paths[0])
        found = np.unique(labels)
        if not np.array_equal(found, np.arange(classes)):
            raise UserError(f"{where}: labels must hold each of 0..{classes - 1}, found {len(found)} values")
        published = self.images[part] * len(paths)
        Promise(SIZE, published // classes).check(images.shape, labels, self.class_names, where)
        return images, labels

    def is_published(self, path: Path) -> bool:
        """The file has the checksum that its makers give for its name."""
        known = {name: digest for part in self.files.values() for name, digest in part.items()}
        return file_digest(path, self.algorithm) == known[path.name]

    def _read_file(self, path: Path, part: Split) -> Batch:
        images, labels = self.read(path)
        if len(images) != len(labels):
            raise UserError(
                f"{path} is damaged: {len(images)} images but {len(labels)} labels; fetch {self.url} again"
            )
        if len(images) >= self.images[part] and not self.is_published(path):
            raise UserError(
                f"{path} was altered: its checksum is not the published {self.files[part][path.name]}; fetch "
                f"{self.url} again"
            )
        return images, labels


def _read_pickle(key: str, path: Path) -> Batch:
    """Read a file of the Python version, with the labels below `key`."""
    content = load_dict(path, "data", key)
    rows = content["data"]
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape[1:] != (_PIXELS,):
        raise UserError(f"{path}: 'data' must be an array of uint8 (N, {_PIXELS})")
    return _images_of(rows), as_int_vector(content[key], str(path))


def _images_of(rows: np.ndarray) -> np.ndarray:
    """Images (N, 32, 32, 3) of rows (N, 3072): all red, then all green, then all blue values; a view."""
    return rows.reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1)


def _read_records(num_labels: int, most: int, path: Path) -> Batch:
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
    return _images_of(rows[:, num_labels:]), rows[:, num_labels - 1].astype(np.int64)


def _read_part(version: CifarVersion, base: Path, split: Split) -> SplitSource:
    images, labels = version.read_part(base, split)
    return SplitSource((len(images), SIZE, SIZE, 3), labels, version.class_names, array_blocks(images))


def _layout(version: CifarVersion) -> Layout:
    names = ",".join(name for part in PARTS for name in version.files[part])
    return Layout(
        name=f"{version.folder}/{{{names}}}",
        folders=(version.folder,),
        files=version.files_of,
        read=partial(_read_part, version),
        is_published=version.is_published,
        splits=PARTS,
    )


_URL = "https://www.cs.toronto.edu/~kriz"
_NAMES10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_IMAGES10: Mapping[Split, int] = {"train": 10_000, "test": 10_000}
_IMAGES100: Mapping[Split, int] = {"train": 50_000, "test": 10_000}

# MD5 as in torchvision, SHA-1 as in mxnet.gluon.data.vision, SHA-256 as in tensorflow.keras.datasets.
CIFAR10_PYTHON = CifarVersion(
    folder="cifar-10-batches-py",
    url=f"{_URL}/cifar-10-python.tar.gz",
    algorithm="md5",
    files={
        "train": {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
    },
    images=_IMAGES10,
    read=partial(_read_pickle, "labels"),
    class_names=_NAMES10,
)
CIFAR10_BINARY = CifarVersion(
    folder="cifar-10-batches-bin",
    url=f"{_URL}/cifar-10-binary.tar.gz",
    algorithm="sha1",
    files={
        "train": {
            "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
            "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
            "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
            "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
            "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
        },
        "test": {"test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c"},
    },
    images=_IMAGES10,
    read=partial(_read_records, 1, 10_000),
    class_names=_NAMES10,
)
CIFAR100_PYTHON = CifarVersion(
    folder="cifar-100-python",
    url=f"{_URL}/cifar-100-python.tar.gz",
    algorithm="md5",
    files={
        "train": {"train": "16019d7e3df5f24257cddd939b257f8d"},
        "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    },
    images=_IMAGES100,
    read=partial(_read_pickle, "fine_labels"),
    class_names=cifar100_names(),
)
CIFAR100_BINARY = CifarVersion(
    folder="cifar-100-binary",
    url=f"{_URL}/cifar-100-binary.tar.gz",
    algorithm="sha1",
    files={
        "train": {"train.bin": "e207cd2e05b73b1393c74c7f5e7bea451d63e08e"},
        "test": {"test.bin": "8fb6623e830365ff53cf14adec797474f5478006"},
    },
    images=_IMAGES100,
    read=partial(_read_records, 2, 50_000),
    class_names=cifar100_names(),
)
CIFAR10_ARCHIVE = RemoteArchive(
    RemoteFile(
        CIFAR10_PYTHON.url, 170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    ),
    CIFAR10_PYTHON.folder,
    (*(name for part in CIFAR10_PYTHON.files.values() for name in part), "batches.meta"),
)
CIFAR100_ARCHIVE = RemoteArchive(
    RemoteFile(
        CIFAR100_PYTHON.url, 169_001_437, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
    ),
    CIFAR100_PYTHON.folder,
    ("train", "test", "meta"),
)


def _cifar(
    name: str,
    versions: tuple[CifarVersion, ...],
    archive: RemoteArchive,
    group_thresholds: tuple[int, int] | None,
) -> LayoutDataset:
    """CIFAR in its official split into training and test images.

    "trainval" is all training images in the order of the files, as torchvision gives them: the long-tailed
    subsets of LDAM-DRW are taken from these. "val" is 5,000 of the published 50,000. The official code of SLA
    holds out 5,000 images of its own choice, which `--val-indices` takes; these are others.
    """
    classes = len(versions[0].class_names)
    urls = " or ".join(version.url for version in versions)
    return LayoutDataset(
        name=name,
        # Mean and deviation as in LDAM-DRW's code, for both data sets alike.
        properties=ImageProperties(
            size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010), crop_padding=4, flip=True
        ),
        origin=f"unpack {urls} there, or let `datasets prepare {name}` download the first",
        classes={"train": classes, "val": classes, "test": classes},
        splits_by=("images",),
        alternative="use fc100 or cifar_fs for CIFAR-100 with disjoint classes",
        group_thresholds=group_thresholds,
        layouts=tuple(map(_layout, versions)),
        fetch=lambda data_root: download_archive(archive, data_root),
        validation=0.1,
    )


CIFAR10 = _cifar("cifar10", (CIFAR10_PYTHON, CIFAR10_BINARY), CIFAR10_ARCHIVE, group_thresholds=None)
CIFAR100 = _cifar(
    "cifar100", (CIFAR100_PYTHON, CIFAR100_BINARY), CIFAR100_ARCHIVE, group_thresholds=(100, 20)
)
