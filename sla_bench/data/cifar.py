"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) for classification, 32 x 32."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sla_bench.data import cifar10, cifar100
from sla_bench.data.base import By, Dataset, ImageProperties, LabeledImages, Split
from sla_bench.data.cifar_files import PARTS, CifarVersion
from sla_bench.data.download import RemoteArchive, download_archive
from sla_bench.data.kept_hashes import HASHES, checksum_of_files
from sla_bench.data.preparation import IN_THREADS, Preparation
from sla_bench.data.stratified import split_images
from sla_bench.errors import UserError

_VALIDATION = 0.1


@dataclass(frozen=True)
class Cifar(Dataset):
    """CIFAR in its official split into training and test images.

    "trainval" is all training images in the order of the files, as torchvision gives them: the long-tailed
    subsets of LDAM-DRW are taken from these. "val" is a tenth of the training images of each class (5,000 of
    the published 50,000), chosen by `split_seed`, and "train" is the rest. The official code of SLA holds out
    5,000 images of its own choice, which `--val-indices` takes; these are others.

    Args:
        versions: the Python and the binary version, in the order of preference; the same images.
        archive: of the first version, for the download.
    """

    versions: tuple[CifarVersion, ...] = field(kw_only=True)
    archive: RemoteArchive = field(kw_only=True)

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split; see `Dataset.load`."""
        self.check_split(split, by)
        version = self._complete(data_root)
        images, labels = version.read_part(data_root / version.folder, "test" if split == "test" else "train")
        if split in ("train", "val"):
            if np.bincount(labels).min() < 2:
                raise UserError(
                    f"{self.name}: train and val need at least two training images of each class in "
                    f"{data_root / version.folder}"
                )
            train, val = split_images(labels, (1 - _VALIDATION, _VALIDATION), split_seed)
            index = train if split == "train" else val
            images, labels = images[index], labels[index]
        return LabeledImages(np.ascontiguousarray(images), labels, version.class_names)

    def checksum(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> str:
        """As `load(...).checksum`; the files are read for it once."""
        kept = data_root / "prepared" / f"{self.name}{HASHES}"
        of = split, split_seed

        def work_out() -> str:
            return self.load(split, by, data_root, split_seed).checksum

        return checksum_of_files(kept, self.files(data_root), of, work_out)

    def prepare(
        self, data_root: Path, source: Path | None = None, how: Preparation = IN_THREADS
    ) -> list[Path]:
        """Check the files, after download of those that are missing; nothing is converted.

        Raises:
            UserError: files are damaged, or no network; `source` or `skip_bad` is given (the
                files can simply lie there, and are no image files).
        """
        how.refuse_skip_bad(self.name)
        if source is not None:
            folders = " or ".join(str(data_root / version.folder) for version in self.versions)
            raise UserError(f"{self.name} needs no conversion: put its files into {folders}")
        if _absent(self._found(data_root), data_root):
            download_archive(self.archive, data_root)
        version = self._complete(data_root)
        for part in PARTS:
            version.read_part(data_root / version.folder, part)
        return self.files(data_root)

    def files(self, data_root: Path) -> list[Path]:
        """The files with images that exist, of the version that `load` reads."""
        version = self._found(data_root)
        return [path for path in version.all_files(data_root / version.folder) if path.is_file()]

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare the files with the published checksums; "unknown" for smaller versions."""
        version = self._found(data_root)
        return version.verify(data_root / version.folder) if self.files(data_root) else []

    def _found(self, data_root: Path) -> CifarVersion:
        """The version with the fewest missing files; of several, the first."""
        return min(self.versions, key=lambda version: len(_absent(version, data_root)))

    def _complete(self, data_root: Path) -> CifarVersion:
        version = self._found(data_root)
        absent = _absent(version, data_root)
        if not self.files(data_root):
            raise self.missing(data_root)
        if absent:
            raise UserError(f"{self.name}: {absent[0]} is missing; unpack {version.url} again")
        return version


def _absent(version: CifarVersion, data_root: Path) -> list[Path]:
    return [path for path in version.all_files(data_root / version.folder) if not path.is_file()]


def _cifar(
    name: str,
    versions: tuple[CifarVersion, ...],
    archive: RemoteArchive,
    group_thresholds: tuple[int, int] | None,
) -> Cifar:
    classes = len(versions[0].class_names)
    urls = " or ".join(version.url for version in versions)
    return Cifar(
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
        versions=versions,
        archive=archive,
    )


CIFAR10 = _cifar("cifar10", (cifar10.PYTHON, cifar10.BINARY), cifar10.ARCHIVE, group_thresholds=None)
CIFAR100 = _cifar(
    "cifar100", (cifar100.PYTHON, cifar100.BINARY), cifar100.ARCHIVE, group_thresholds=(100, 20)
)
