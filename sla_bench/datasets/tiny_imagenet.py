"""Tiny ImageNet (Stanford CS231n): 200 classes of ImageNet, 500 training and 50 test images each, 64 x 64."""

from __future__ import annotations

from pathlib import Path

from sla_bench.datasets.base import ImageProperties, Split
from sla_bench.datasets.image_files import list_folders, list_images
from sla_bench.datasets.image_lists import ImageList, NamedImages, check_inside, read_lines
from sla_bench.datasets.layouts import Layout
from sla_bench.datasets.photographs import IMAGENET_MEAN, IMAGENET_STD, Photographs, listed_source
from sla_bench.datasets.sources import SplitSource
from sla_bench.errors import UserError

_SIZE = 64
_FOLDER = "tiny-imagenet-200"
_ANNOTATIONS = "val/val_annotations.txt"
_ANNOTATION_FIELDS = 6  # image, class, and four coordinates of a box


def _files(base: Path, split: Split) -> list[Path]:
    if split == "train":
        return [base / "wnids.txt", base / "train"]
    return [base / "wnids.txt", base / _ANNOTATIONS, base / "val" / "images"]


def _watched(base: Path, split: Split) -> list[Path]:
    if split != "train":
        return _files(base, split)
    inside = [folder / "images" for folder in list_folders(base / "train")]
    return [*_files(base, split), *(folder for folder in inside if folder.is_dir())]


def _read(base: Path, split: Split) -> SplitSource:
    names = _classes(base)
    chosen = _training_images(base, names) if split == "train" else _annotated(base / _ANNOTATIONS, names)
    folder = base / "train" if split == "train" else base / "val" / "images"
    return listed_source(chosen, names, folder, base, _SIZE, "crop")


def _classes(base: Path) -> tuple[str, ...]:
    listed = {wnid: number for number, wnid in read_lines(base / "wnids.txt")}
    folders = {folder.name for folder in list_folders(base / "train")}
    for wnid, number in listed.items():
        if wnid not in folders:
            raise UserError(f"{base / 'train' / wnid} is missing, though line {number} of wnids.txt names it")
    if folders - set(listed):
        raise UserError(
            f"{base / 'train' / min(folders - set(listed))} is no class: wnids.txt does not name it"
        )
    if not listed:
        raise UserError(f"{base / 'wnids.txt'} names no classes")
    return tuple(sorted(listed))


def _training_images(base: Path, names: tuple[str, ...]) -> ImageList:
    images = [
        f"{wnid}/images/{path.name}"
        for wnid in names
        for path in list_images(base / "train" / wnid / "images")
    ]
    classes = tuple(image.partition("/")[0] for image in images)
    return NamedImages(base / "train", tuple(images), classes).numbered(names)


def _annotated(file: Path, names: tuple[str, ...]) -> ImageList:
    images: dict[str, str] = {}
    lines = []
    for number, line in read_lines(file):
        fields = line.split("\t")
        if len(fields) != _ANNOTATION_FIELDS:
            raise UserError(
                f"line {number} of {file} must be image, class and four coordinates, found {line[:80]!r}"
            )
        check_inside(fields[0], f"line {number} of {file}")
        if fields[0] in images:
            raise UserError(f"line {number} of {file} names {fields[0]} a second time")
        images[fields[0]] = fields[1]
        lines.append(number)
    return NamedImages(file, tuple(images), tuple(images.values()), tuple(lines)).numbered(names)


TINY_IMAGENET = Photographs(
    name="tiny_imagenet",
    properties=ImageProperties(size=_SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop_padding=8, flip=True),
    origin=f"unpack http://cs231n.stanford.edu/{_FOLDER}.zip there",
    classes={"train": 200, "test": 200},
    splits_by=("images",),
    alternative="use mini_imagenet or tiered_imagenet",
    layouts=(
        Layout(
            name=f"{_FOLDER}/ with wnids.txt, train/WNID/images/*.JPEG, {_ANNOTATIONS} and val/images/*.JPEG",
            folders=(_FOLDER,),
            files=_files,
            read=_read,
            decoded=True,
            splits=("train", "test"),
            watched=_watched,
        ),
    ),
    published={"train": 100_000, "test": 10_000},
    validation_is_test=True,
)
"""Tiny ImageNet; the padding of the random crop is that of CIFAR at twice the size. SLA's own code enlarges
the images to 224 pixels and trains on random parts of them."""
