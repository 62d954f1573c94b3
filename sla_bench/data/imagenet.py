"""ImageNet (ILSVRC 2012): 1,000 classes, 1.28 million training images, 50,000 validation images for test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.data.base import Split
from sla_bench.data.images import list_folders, list_images
from sla_bench.data.layouts import Layout
from sla_bench.data.lists import ImageList, named_list, read_lines, read_table
from sla_bench.data.photograph_sets import load_mat
from sla_bench.data.photographs import photograph_source, photographs
from sla_bench.data.sources import SplitSource
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
    part = train if split == "train" else base / pictures / "val"
    if split == "train" or list_folders(part):
        if split != "train" and (loose := list_images(part)):
            raise UserError(
                f"{part} has folders of classes and {len(loose):,} images beside them; sort these in"
            )
        chosen = _sorted_images(part, names)
    else:
        chosen = _loose(part, base, names)
    return photograph_source(chosen, names, part, base, split)


def _sorted_images(part: Path, names: tuple[str, ...]) -> ImageList:
    """Images in folders by class, as torchvision puts them."""
    images = [f"{folder.name}/{image.name}" for folder in list_folders(part) for image in list_images(folder)]
    return named_list(part, images, [image.partition("/")[0] for image in images], names)


def _loose(part: Path, base: Path, names: tuple[str, ...]) -> ImageList:
    """Images without folders, and a file that tells their classes."""
    images, truth = [image.name for image in list_images(part)], next(iter(_truths(base)), None)
    if truth is None or not images:
        raise UserError(
            f"{part} must have one folder of images per class, or all images with {_TRUTH} and meta.mat, "
            f"{_SOLUTION} or {_MAP} (lines `IMAGE WNID`) in {base}"
        )
    wnid_of = _READERS[truth.name](truth, images)
    if absent := sorted(set(images) - wnid_of.keys()):
        raise UserError(f"{truth} does not say the class of {absent[0]}; fetch it again")
    if missing := sorted(wnid_of.keys() - set(images)):
        raise UserError(f"{missing[0]} is missing, though line {wnid_of[missing[0]][1]} of {truth} names it")
    wnids, lines = zip(*(wnid_of[image] for image in images), strict=True)
    return named_list(truth, images, wnids, names, lines)


def _truths(base: Path) -> list[Path]:
    """The files that tell the classes of loose validation images, the preferred one first."""
    return [place for place in (base / _TRUTH, base / _SOLUTION, base / _MAP) if place.is_file()]


_Found = dict[str, tuple[str, int]]
"""Image -> wnid, and the line that says it."""


def _from_devkit(truth: Path, images: Sequence[str]) -> _Found:
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
    return {image: (wnid_of[line], number) for image, (number, line) in zip(images, lines, strict=True)}


def _wnids(meta: Path) -> dict[str, str]:
    if not meta.is_file():
        raise UserError(f"{meta} is missing; unpack ILSVRC2012_devkit_t12.tar.gz again")
    synsets: Any = load_mat(meta).get("synsets")
    try:
        # Classes are the leaves of the tree; their numbers come first.
        columns = (np.atleast_1d(synsets[key]) for key in ("ILSVRC2012_ID", "WNID", "num_children"))
        rows = zip(*columns, strict=True)
        return {str(int(number)): str(wnid) for number, wnid, children in rows if int(children) == 0}
    except (TypeError, ValueError, IndexError, OverflowError):
        raise UserError(
            f"{meta} has no 'synsets' with ILSVRC2012_ID, WNID and num_children; unpack it again"
        ) from None


def _from_solution(solution: Path, _: Sequence[str]) -> _Found:
    """Kaggle's table `ImageId,PredictionString`: the string begins with the wnid."""
    found: _Found = {}
    for number, row in enumerate(read_table(solution), start=1):
        image, words = row.get("ImageId"), row.get("PredictionString", "").split()
        if not image or not words:
            raise UserError(f"line {number} of {solution} must have an ImageId and a PredictionString")
        if number > 1:  # the head
            found[f"{image}.JPEG"] = (words[0], number)
    return found


def _from_map(file: Path, _: Sequence[str]) -> _Found:
    """Lines `IMAGE WNID`; numbers are refused, for they are in use in two orders."""
    found: _Found = {}
    for number, line in read_lines(file):
        image, _, wnid = line.replace("\t", " ").rpartition(" ")
        if not image.strip() or wnid.isdecimal():
            raise UserError(
                f"line {number} of {file} must be an image and a wnid like n01440764 (numbers are in "
                f"use in two orders), found {line[:80]!r}"
            )
        found[image.strip().rpartition("/")[2]] = (wnid, number)
    return found


_READERS: dict[str, Callable[[Path, Sequence[str]], _Found]] = {
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
