"""ImageNet (ILSVRC 2012): 1,000 classes, 1.28 million training images, 50,000 validation images for test."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from sla_bench.datasets.base import Split
from sla_bench.datasets.csv_tables import read_table
from sla_bench.datasets.image_files import list_folders, list_images
from sla_bench.datasets.image_lists import NamedImages, read_lines
from sla_bench.datasets.layouts import Layout
from sla_bench.datasets.matlab_files import load_mat
from sla_bench.datasets.photographs import photograph_source, photographs
from sla_bench.datasets.sources import SplitSource
from sla_bench.errors import UserError

_FOLDERS = ("imagenet", "ImageNet", "ILSVRC2012")
_KAGGLE = "ILSVRC/Data/CLS-LOC"
_TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
_SOLUTION = "LOC_val_solution.csv"
_MAP = "val_map.txt"


def _files(pictures: str, base: Path, split: Split) -> list[Path]:
    parts = [base / pictures / "train", base / pictures / "val"]
    return parts[:1] if split == "train" else parts


def _watched(pictures: str, base: Path, split: Split) -> list[Path]:
    folders = [folder for part in _files(pictures, base, split) for folder in (part, *list_folders(part))]
    return folders if split == "train" else folders + _truths(base)


def _read(pictures: str, base: Path, split: Split) -> SplitSource:
    train = base / pictures / "train"
    names = tuple(folder.name for folder in list_folders(train))
    if not names:
        raise UserError(f"{train} has no folders of images, one per class; unpack the archives in it")
    if split == "train":
        return photograph_source(_sorted_images(train).numbered(names), names, train, base, split)
    val = base / pictures / "val"
    return photograph_source(_validation_images(val, base).numbered(names), names, val, base, split)


def _sorted_images(part: Path) -> NamedImages:
    images = [f"{folder.name}/{image.name}" for folder in list_folders(part) for image in list_images(folder)]
    return NamedImages(part, tuple(images), tuple(image.partition("/")[0] for image in images))


def _validation_images(part: Path, base: Path) -> NamedImages:
    """Validation images in folders by class, as torchvision puts them, or loose with a file of classes."""
    loose = list_images(part)
    if list_folders(part):
        if loose:
            raise UserError(
                f"{part} has folders of classes and {len(loose):,} images beside them; sort these in"
            )
        return _sorted_images(part)
    truth = next(iter(_truths(base)), None)
    if truth is None or not loose:
        raise UserError(
            f"{part} must have one folder of images per class, or all images with {_TRUTH} and meta.mat, "
            f"{_SOLUTION} or {_MAP} (lines `IMAGE WNID`) in {base}"
        )
    names = tuple(image.name for image in loose)
    return _READERS[truth.name](truth, names)


def _truths(base: Path) -> list[Path]:
    """The files that tell the classes of loose validation images, the preferred one first."""
    return [place for place in (base / _TRUTH, base / _SOLUTION, base / _MAP) if place.is_file()]


def _from_devkit(truth: Path, images: tuple[str, ...]) -> NamedImages:
    """Line i is the number of the class of the i-th image by name; `meta.mat` has the wnid of each number."""
    wnid_of = _wnids(truth.with_name("meta.mat"))
    lines = read_lines(truth)
    if len(lines) != len(images):
        raise UserError(f"{truth} has {len(lines):,} lines for {len(images):,} images; fetch it again")
    for number, line in lines:
        if line not in wnid_of:
            raise UserError(
                f"line {number} of {truth} must be a class from 1 to {len(wnid_of)}, found {line[:80]!r}"
            )
    return NamedImages(
        truth, images, tuple(wnid_of[line] for _, line in lines), tuple(number for number, _ in lines)
    )


def _wnids(meta: Path) -> dict[str, str]:
    if not meta.is_file():
        raise UserError(f"{meta} is missing; unpack ILSVRC2012_devkit_t12.tar.gz again")
    synsets = load_mat(meta).get("synsets")
    fields = synsets.dtype.names if isinstance(synsets, np.ndarray) else None
    if synsets is None or not {"ILSVRC2012_ID", "WNID", "num_children"} <= set(fields or ()):
        raise UserError(f"{meta} has no 'synsets' with ILSVRC2012_ID, WNID and num_children; unpack it again")
    # Classes are the leaves of the tree; their numbers come first.
    columns = (np.atleast_1d(synsets[key]) for key in ("ILSVRC2012_ID", "WNID", "num_children"))
    try:
        return {
            str(int(number)): str(wnid)
            for number, wnid, children in zip(*columns, strict=True)
            if int(children) == 0
        }
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{meta}: 'synsets' holds other values than numbers ({error})") from None


def _from_solution(solution: Path, images: tuple[str, ...]) -> NamedImages:
    """Kaggle's table `ImageId,PredictionString`: the string begins with the wnid."""
    table = read_table(solution)
    next(table)
    wnid_of: dict[str, tuple[str, int]] = {}
    for number, row in enumerate(table, start=2):
        image, words = row.get("ImageId"), row.get("PredictionString", "").split()
        if not image or not words:
            raise UserError(f"line {number} of {solution} must have an ImageId and a PredictionString")
        wnid_of[f"{image}.JPEG"] = (words[0], number)
    return _looked_up(solution, images, wnid_of)


def _from_map(file: Path, images: tuple[str, ...]) -> NamedImages:
    """Lines `IMAGE WNID`; numbers are refused, for they are in use in two orders."""
    wnid_of: dict[str, tuple[str, int]] = {}
    for number, line in read_lines(file):
        image, _, wnid = line.replace("\t", " ").rpartition(" ")
        if not image.strip() or wnid.isdecimal():
            raise UserError(
                f"line {number} of {file} must be an image and a wnid like n01440764 (numbers are in "
                f"use in two orders), found {line[:80]!r}"
            )
        wnid_of[image.strip().rpartition("/")[2]] = (wnid, number)
    return _looked_up(file, images, wnid_of)


def _looked_up(file: Path, images: tuple[str, ...], wnid_of: dict[str, tuple[str, int]]) -> NamedImages:
    absent = next((image for image in images if image not in wnid_of), None)
    if absent is not None:
        raise UserError(f"{file} does not say the class of {absent}; fetch it again")
    if len(wnid_of) > len(images):
        missing = min(set(wnid_of) - set(images))
        raise UserError(f"{missing} is missing, though line {wnid_of[missing][1]} of {file} names it")
    chosen = [wnid_of[image] for image in images]
    return NamedImages(file, images, tuple(wnid for wnid, _ in chosen), tuple(number for _, number in chosen))


_READERS: dict[str, Callable[[Path, tuple[str, ...]], NamedImages]] = {
    Path(_TRUTH).name: _from_devkit,
    _SOLUTION: _from_solution,
    _MAP: _from_map,
}


def _layout(name: str, pictures: str) -> Layout:
    return Layout(
        name=name,
        folders=_FOLDERS,
        files=partial(_files, pictures),
        read=partial(_read, pictures),
        decoded=True,
        splits=("train", "test"),
        watched=partial(_watched, pictures),
    )


IMAGENET = photographs(
    "imagenet",
    1000,
    {"train": 1_281_167, "test": 50_000},
    (
        _layout("imagenet/ with train/WNID/*.JPEG, and val/ by class or with the devkit", ""),
        _layout(f"Kaggle's imagenet/{_KAGGLE}/ with {_SOLUTION} in imagenet/", _KAGGLE),
    ),
    "unpack the archives of https://image-net.org/challenges/LSVRC/2012/ into imagenet/train/WNID/ "
    "(one folder per class) and imagenet/val/ there, as torchvision's ImageNet does",
    validation_is_test=True,
)
"""ImageNet; labels follow the sorted wnids, as in torchvision."""
