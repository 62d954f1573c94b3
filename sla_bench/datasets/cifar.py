"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) for classification: 50,000 and 10,000 images, 32 x 32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sla_bench.datasets import cifar10, cifar100
from sla_bench.datasets.base import By, Dataset, ImageProperties, LabeledImages, Split
from sla_bench.datasets.cifar100 import Part
from sla_bench.datasets.class_lists import cifar100_names
from sla_bench.datasets.download import RemoteArchive, download_archive
from sla_bench.datasets.preparation import IN_THREADS, Preparation
from sla_bench.datasets.stratified import split_images
from sla_bench.errors import UserError

_VALIDATION = 0.1
_PARTS: tuple[Part, ...] = ("train", "test")


@dataclass(frozen=True)
class CifarFiles:
    """Where the files of one of the two lie and how they are read.

    Args:
        folder: below the data root.
        url: of the archive.
        archive: from which they are downloaded.
        class_names: by label.
        of_part: files of "train" or "test" in a folder.
        read_part: reads images (N, 32, 32, 3) and labels (N,) of "train" or "test" from a folder.
        verify: compares the files in a folder with the published checksums.
    """

    folder: str
    url: str
    archive: RemoteArchive
    class_names: tuple[str, ...]
    of_part: Callable[[Path, Part], list[Path]]
    read_part: Callable[[Path, Part], tuple[np.ndarray, np.ndarray]]
    verify: Callable[[Path], list[tuple[Path, str]]]


@dataclass(frozen=True)
class Cifar(Dataset):
    """CIFAR in its official split into training and test images.

    "trainval" is all training images in the order of the files, as torchvision gives them: the long-tailed
    subsets of LDAM-DRW are taken from these. "val" is a tenth of the training images of each class (5,000 of
    the published 50,000), chosen by `split_seed`, and "train" is the rest. The official code of SLA holds out
    5,000 images of its own choice; that list was not at hand, so these are others.

    Args:
        source_files: where the files lie and how they are read.
    """

    source_files: CifarFiles = field(kw_only=True)

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split; see `Dataset.load`."""
        self.check_split(split, by)
        images, labels = self._read("test" if split == "test" else "train", data_root)
        if split in ("train", "val"):
            if np.bincount(labels).min() < 2:
                raise UserError(
                    f"{self.name}: train and val need at least two training images of each class in "
                    f"{data_root / self.source_files.folder}"
                )
            train, val = split_images(labels, (1 - _VALIDATION, _VALIDATION), split_seed)
            index = train if split == "train" else val
            images, labels = images[index], labels[index]
        return LabeledImages(np.ascontiguousarray(images), labels, self.source_files.class_names)

    def prepare(
        self, data_root: Path, source: Path | None = None, how: Preparation = IN_THREADS
    ) -> list[Path]:
        """Check the files, after download of those that are missing; nothing is converted.

        Raises:
            UserError: files are damaged, or no network; `source` or `skip_bad` is given (the
                files can simply lie there, and are no image files).
        """
        how.refuse_skip_bad(self.name)
        folder = self.source_files.folder
        if source is not None:
            raise UserError(f"{self.name} needs no conversion: put its files into {data_root / folder}")
        if len(self.files(data_root)) < sum(len(self._paths(part, data_root)) for part in _PARTS):
            download_archive(self.source_files.archive, data_root)
        for part in _PARTS:
            self._read(part, data_root)
        return self.files(data_root)

    def files(self, data_root: Path) -> list[Path]:
        """The files with images that exist."""
        return [path for part in _PARTS for path in self._paths(part, data_root) if path.is_file()]

    def _paths(self, part: Part, data_root: Path) -> list[Path]:
        return self.source_files.of_part(data_root / self.source_files.folder, part)

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare the files with the published checksums; "unknown" for smaller versions."""
        return self.source_files.verify(data_root / self.source_files.folder) if self.files(data_root) else []

    def _read(self, part: Part, data_root: Path) -> tuple[np.ndarray, np.ndarray]:
        if not self.files(data_root):
            raise self.missing(data_root)
        folder = data_root / self.source_files.folder
        absent = next((path for path in self.source_files.of_part(folder, part) if not path.is_file()), None)
        if absent is not None:
            raise UserError(f"{self.name}: {absent} is missing; unpack {self.source_files.url} again")
        return self.source_files.read_part(folder, part)


def _cifar(name: str, files: CifarFiles, group_thresholds: tuple[int, int] | None) -> Cifar:
    classes = len(files.class_names)
    return Cifar(
        name=name,
        # Mean and deviation as in LDAM-DRW's code, for both data sets alike.
        properties=ImageProperties(
            size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010), crop_padding=4, flip=True
        ),
        origin=f"unpack {files.url} there, or let `datasets prepare {name}` download it",
        classes={"train": classes, "val": classes, "test": classes},
        splits_by=("images",),
        alternative="use fc100 or cifar_fs for CIFAR-100 with disjoint classes",
        group_thresholds=group_thresholds,
        source_files=files,
    )


CIFAR10 = _cifar(
    "cifar10",
    CifarFiles(
        cifar10.FOLDER,
        cifar10.URL,
        cifar10.ARCHIVE,
        cifar10.CLASS_NAMES,
        cifar10.part_files,
        cifar10.read_part,
        cifar10.verify,
    ),
    group_thresholds=None,
)
CIFAR100 = _cifar(
    "cifar100",
    CifarFiles(
        cifar100.FOLDER,
        cifar100.URL,
        cifar100.ARCHIVE,
        cifar100_names().fine,
        lambda folder, part: [folder / part],
        cifar100.read_part,
        cifar100.verify,
    ),
    group_thresholds=(100, 20),
)
