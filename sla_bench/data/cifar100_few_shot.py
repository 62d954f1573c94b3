"""FC100 and CIFAR-FS: CIFAR-100's classes split for few-shot learning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from sla_bench.data.base import ImageProperties, Split
from sla_bench.data.cifar import CIFAR100_ARCHIVE, CIFAR100_BINARY, CIFAR100_PYTHON, PARTS, CifarVersion
from sla_bench.data.class_lists import (
    SPLITS,
    check_classes,
    cifar100_names,
    cifar_fs_labels,
    fc100_labels,
    split_with,
)
from sla_bench.data.downloads import download_archive
from sla_bench.data.images import list_folders
from sla_bench.data.layouts import Layout, LayoutDataset
from sla_bench.data.lists import read_lines
from sla_bench.data.pickles import load_dict
from sla_bench.data.sources import (
    Promise,
    SplitSource,
    array_blocks,
    as_images,
    as_int_vector,
    read_class_folders,
    relabel,
)

_PROMISE = Promise(size=32, per_class=600)
_LabelsOf = Callable[[Split], tuple[int, ...]]

# Mean and deviation of the training images as in MetaOptNet's loaders.
_PROPERTIES = ImageProperties(
    size=32,
    mean=(129.37731888 / 255, 124.10583864 / 255, 112.47758569 / 255),
    std=(68.20947949 / 255, 65.43124043 / 255, 70.45866994 / 255),
    crop_padding=4,
    flip=True,
    jitter=0.4,
    fit="stretch",
)


def _read_cifar100(version: CifarVersion, labels_of: _LabelsOf, base: Path, split: Split) -> SplitSource:
    parts = [version.read_part(base, part) for part in PARTS]
    wanted = labels_of(split)
    taken = [(images, labels, np.flatnonzero(np.isin(labels, wanted))) for images, labels in parts]
    labels, values = relabel(np.concatenate([labels[index] for _, labels, index in taken]))
    names = tuple(cifar100_names()[value] for value in values)

    def blocks() -> Iterator[np.ndarray]:
        for images, _, index in taken:
            yield from array_blocks(images, index)()

    return SplitSource((len(labels), 32, 32, 3), labels, names, blocks)


def _cifar100_layout(name: str, version: CifarVersion, labels_of: _LabelsOf) -> Layout:
    return Layout(
        name=f"CIFAR-100's {name}",
        folders=(version.folder,),
        # Every split takes its classes from both files.
        files=lambda base, split: version.files_of(base, *PARTS),
        read=partial(_read_cifar100, version, labels_of),
        is_published=version.is_published,
    )


_python = partial(
    _cifar100_layout, f"own files {CIFAR100_PYTHON.folder}/{{train,test,meta}}", CIFAR100_PYTHON
)
_binary = partial(
    _cifar100_layout, f"binary version {CIFAR100_BINARY.folder}/{{train,test}}.bin", CIFAR100_BINARY
)


def category_pickles(
    name: str,
    folders: tuple[str, ...],
    files: Mapping[Split, str],
    promise: Promise,
    known: dict[Split, tuple[int, ...]],
    names: tuple[str, ...] = (),
) -> Layout:
    """MetaOptNet's pickles `{'data': uint8 (N, H, W, 3), 'labels': N integers}`, usually of Python 2.

    Args:
        name: as in `Layout`.
        folders: as in `Layout`.
        files: name of the file of each split.
        promise: what is checked.
        known: the original labels of each split; labels may be others, and need not begin at 0.
        names: names of the original labels.
    """

    def read(base: Path, split: Split) -> SplitSource:
        path = base / files[split]
        content = load_dict(path, "data", "labels")
        images = as_images(content["data"], str(path))
        labels, values = relabel(as_int_vector(content["labels"], str(path)))
        original = split_with(frozenset(values), known)
        if original is not None:
            check_classes(frozenset(values), split, known, str(path))
        class_names = tuple(names[v] if original and names else f"class {v}" for v in values)
        promise.check(images.shape, labels, class_names, str(path))
        return SplitSource(images.shape, labels, class_names, array_blocks(images))

    return Layout(name, folders, lambda base, split: [base / files[split]], read)


def pickle_layout(folder: str, stem: str, labels_of: _LabelsOf) -> Layout:
    """`FOLDER/STEM_{train,val,test}.pickle`; the folder may be "", the data root."""
    return category_pickles(
        f"MetaOptNet's {Path(folder, stem)}_{{train,val,test}}.pickle",
        (folder,),
        {split: f"{stem}_{split}.pickle" for split in SPLITS},
        _PROMISE,
        {split: labels_of(split) for split in SPLITS},
        cifar100_names(),
    )


def _names(split: Split) -> tuple[str, ...]:
    return tuple(cifar100_names()[label] for label in cifar_fs_labels(split))


_CIFAR_FS_NAMES = {split: _names(split) for split in SPLITS}


def _folders(base: Path, split: Split) -> list[Path]:
    return [base / name for name in _CIFAR_FS_NAMES[split]]


def _read_folders(folders: list[Path], base: Path) -> SplitSource:
    return read_class_folders(folders, [folder.name for folder in folders], _PROPERTIES, _PROMISE, base)


def _read_r2d2(base: Path, split: Split) -> SplitSource:
    listing = base / "splits" / "bertinetto" / f"{split}.txt"
    if listing.exists():
        listed = frozenset(name for _, name in read_lines(listing))
        check_classes(listed, split, _CIFAR_FS_NAMES, str(listing))
    return _read_folders(_folders(base / "data", split), base / "data")


def _read_processed(base: Path, split: Split) -> SplitSource:
    folders = list_folders(base / split)
    check_classes(frozenset(folder.name for folder in folders), split, _CIFAR_FS_NAMES, str(base / split))
    return _read_folders(folders, base / split)


R2D2 = Layout(
    name="R2D2's cifar100/data/CLASS/*.png with cifar100/splits/bertinetto/{train,val,test}.txt",
    folders=("cifar100", "CIFAR-FS/cifar100", "cifarfs/cifar100"),
    files=lambda base, split: _folders(base / "data", split),
    read=_read_r2d2,
    decoded=True,
)
PROCESSED = Layout(
    name="learn2learn's cifarfs/processed/{train,val,test}/CLASS/*.png",
    folders=("cifarfs/processed",),
    files=lambda base, split: _folders(base / split, split),
    read=_read_processed,
    decoded=True,
)


def _fetch_cifar100(data_root: Path) -> None:
    download_archive(CIFAR100_ARCHIVE, data_root)


_ORIGIN = (
    f"unpack {CIFAR100_PYTHON.url} or {CIFAR100_BINARY.url} there, or let `datasets prepare` download the "
    "first"
)

FC100 = LayoutDataset(
    name="fc100",
    properties=_PROPERTIES,
    origin=_ORIGIN,
    classes={"train": 60, "val": 20, "test": 20},
    layouts=(
        _python(fc100_labels),
        pickle_layout("FC100", "FC100", fc100_labels),
        _binary(fc100_labels),
    ),
    alternative="use cifar100 for the same classes in training and test",
    fetch=_fetch_cifar100,
)
"""FC100 (Oreshkin et al. 2018): 60, 20 and 20 classes, no superclass in two splits."""

CIFAR_FS = LayoutDataset(
    name="cifar_fs",
    properties=_PROPERTIES,
    origin=_ORIGIN,
    classes={"train": 64, "val": 16, "test": 20},
    layouts=(
        _python(cifar_fs_labels),
        pickle_layout("CIFAR-FS", "CIFAR_FS", cifar_fs_labels),
        R2D2,
        PROCESSED,
        _binary(cifar_fs_labels),
    ),
    alternative="use cifar100 for the same classes in training and test",
    fetch=_fetch_cifar100,
)
"""CIFAR-FS (Bertinetto et al. 2019): 64, 16 and 20 classes split at random."""
