"""ImageNet (ILSVRC 2012) and Tiny ImageNet, one training folder per class."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sla_bench.data.base import ImageProperties, Split
from sla_bench.data.images import list_folders, list_images
from sla_bench.data.layouts import Layout
from sla_bench.data.lists import ImageList, check_inside, listed_source, named_list, read_lines, read_table
from sla_bench.data.photographs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Photographs,
    photograph_source,
    photographs,
)
from sla_bench.data.sources import SplitSource
from sla_bench.errors import UserError

_KAGGLE = "ILSVRC/Data/CLS-LOC"
_SOLUTION = "LOC_val_solution.csv"


def _files(pictures: str, base: Path, split: Split) -> list[Path]:
    parts = [base / pictures / "train", base / pictures / "val"]
    return parts[:1] if split == "train" else parts


def _watched(pictures: str, base: Path, split: Split) -> list[Path]:
    folders = [folder for part in _files(pictures, base, split) for folder in (part, *list_folders(part))]
    solution = base / _SOLUTION
    return folders if split == "train" or not solution.is_file() else [*folders, solution]


def _read(pictures: str, base: Path, split: Split) -> SplitSource:
    train = base / pictures / "train"
    names = tuple(folder.name for folder in list_folders(train))
    if not names:
        raise UserError(f"{train} has no folders of images, one per class; unpack the archives in it")
    part = train if split == "train" else base / pictures / "val"
    folders = list_folders(part)
    if folders and split != "train" and (loose := list_images(part)):
        raise UserError(f"{part} has folders of classes and {len(loose):,} images beside them; sort these in")
    chosen = _in_folders(part, folders, names) if folders else _by_solution(part, base / _SOLUTION, names)
    return photograph_source(chosen, names, part, base, split)


def _in_folders(part: Path, folders: list[Path], names: tuple[str, ...], inside: str = "") -> ImageList:
    """Images in one folder per class, or in a folder of that name inside each."""
    found = [(folder, image) for folder in folders for image in list_images(folder / inside)]
    images = [image.relative_to(part).as_posix() for _, image in found]
    return named_list(part, images, [folder.name for folder, _ in found], names)


def _by_solution(part: Path, solution: Path, names: tuple[str, ...]) -> ImageList:
    """Loose images, and Kaggle's table `ImageId,PredictionString`: the string begins with the wnid."""
    images = [image.name for image in list_images(part)]
    if not images or not solution.is_file():
        raise UserError(
            f"{part} must have one folder of images per class (torchvision.datasets.ImageNet makes them), or "
            f"all images with Kaggle's {_SOLUTION} in {solution.parent}"
        )
    wnid_of: dict[str, tuple[str, int]] = {}
    for number, row in enumerate(read_table(solution), start=1):
        image, words = row.get("ImageId"), row.get("PredictionString", "").split()
        if not image or not words:
            raise UserError(f"line {number} of {solution} must have an ImageId and a PredictionString")
        if number > 1:  # the head
            wnid_of[f"{image}.JPEG"] = (words[0], number)
    if absent := sorted(set(images) - wnid_of.keys()):
        raise UserError(f"{solution} does not say the class of {absent[0]}; fetch it again")
    if missing := sorted(wnid_of.keys() - set(images)):
        line = wnid_of[missing[0]][1]
        raise UserError(f"{missing[0]} is missing, though line {line} of {solution} names it")
    wnids, lines = zip(*(wnid_of[image] for image in images), strict=True)
    return named_list(solution, images, wnids, names, lines)


def _layout(name: str, pictures: str) -> Layout:
    return Layout(
        name=name,
        folders=("imagenet", "ImageNet", "ILSVRC2012"),
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
        _layout("imagenet/ with train/WNID/*.JPEG and val/WNID/*.JPEG", ""),
        _layout(f"Kaggle's imagenet/{_KAGGLE}/ with {_SOLUTION} in imagenet/", _KAGGLE),
    ),
    "let torchvision.datasets.ImageNet sort the archives of https://image-net.org/challenges/LSVRC/2012/ "
    "into imagenet/train/WNID/ and imagenet/val/WNID/ there",
    validation_is_test=True,
)
"""ImageNet: 1,000 classes, 1.28 million training images, 50,000 validation images for the test; labels follow
the sorted wnids, as in torchvision."""


_TINY = "tiny-imagenet-200"
_TINY_SIZE = 64
_ANNOTATIONS = "val/val_annotations.txt"
_ANNOTATION_FIELDS = 6  # image, class, and four coordinates of a box


def _tiny_files(base: Path, split: Split) -> list[Path]:
    if split == "train":
        return [base / "wnids.txt", base / "train"]
    return [base / "wnids.txt", base / _ANNOTATIONS, base / "val" / "images"]


def _tiny_watched(base: Path, split: Split) -> list[Path]:
    inside = [folder / "images" for folder in list_folders(base / "train")] if split == "train" else []
    return [*_tiny_files(base, split), *(folder for folder in inside if folder.is_dir())]


def _read_tiny(base: Path, split: Split) -> SplitSource:
    listed = read_lines(base / "wnids.txt")
    for number, wnid in listed:
        check_inside(wnid, f"line {number} of {base / 'wnids.txt'}")
    names = tuple(sorted(wnid for _, wnid in listed))
    folder = base / "train" if split == "train" else base / "val" / "images"
    if split == "train":
        chosen = _in_folders(folder, [folder / wnid for wnid in names], names, "images")
    else:
        chosen = _annotated(base / _ANNOTATIONS, names)
    return listed_source(chosen, names, folder, base, _TINY_SIZE, "crop")


def _annotated(file: Path, names: tuple[str, ...]) -> ImageList:
    rows = [(number, line.split("\t")) for number, line in read_lines(file)]
    for number, fields in rows:
        if len(fields) != _ANNOTATION_FIELDS:
            raise UserError(
                f"line {number} of {file} must be image, class and four coordinates, found "
                f"{' '.join(fields)[:80]!r}"
            )
    images, classes = ([fields[column] for _, fields in rows] for column in (0, 1))
    return named_list(file, images, classes, names, [number for number, _ in rows])


TINY_IMAGENET = Photographs(
    name="tiny_imagenet",
    properties=ImageProperties(
        size=_TINY_SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop_padding=8, flip=True
    ),
    origin=f"unpack http://cs231n.stanford.edu/{_TINY}.zip there",
    classes={"train": 200, "test": 200},
    splits_by=("images",),
    alternative="use mini_imagenet or tiered_imagenet",
    layouts=(
        Layout(
            name=f"{_TINY}/ with wnids.txt, train/WNID/images/*.JPEG, {_ANNOTATIONS} and val/images/*.JPEG",
            folders=(_TINY,),
            files=_tiny_files,
            read=_read_tiny,
            decoded=True,
            splits=("train", "test"),
            watched=_tiny_watched,
        ),
    ),
    published={"train": 100_000, "test": 10_000},
    validation_is_test=True,
)
"""Tiny ImageNet (Stanford CS231n): 200 classes of ImageNet, 500 training and 50 test images each, 64 x 64.

The padding of the random crop is that of CIFAR at twice the size. SLA's own code enlarges the images to 224
pixels and trains on random parts of them.
"""
