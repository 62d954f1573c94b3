"""Tiny ImageNet (Stanford CS231n): 200 classes of ImageNet, 64 x 64."""

from __future__ import annotations

from pathlib import Path

from sla_bench.data.base import ImageProperties, Split
from sla_bench.data.image_files import list_folders, list_images
from sla_bench.data.image_lists import check_inside, named_list, read_lines
from sla_bench.data.layouts import Layout
from sla_bench.data.photographs import IMAGENET_MEAN, IMAGENET_STD, Photographs, listed_source
from sla_bench.data.sources import SplitSource
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
    listed = read_lines(base / "wnids.txt")
    for number, wnid in listed:
        check_inside(wnid, f"line {number} of {base / 'wnids.txt'}")
    names = sorted(wnid for _, wnid in listed)
    if split == "train":
        folder = base / "train"
        images = [
            f"{wnid}/images/{path.name}" for wnid in names for path in list_images(folder / wnid / "images")
        ]
        chosen = named_list(folder, images, [image.partition("/")[0] for image in images], names)
    else:
        folder, file = base / "val" / "images", base / _ANNOTATIONS
        rows = [(number, line.split("\t")) for number, line in read_lines(file)]
        for number, fields in rows:
            if len(fields) != _ANNOTATION_FIELDS:
                raise UserError(
                    f"line {number} of {file} must be image, class and four coordinates, found "
                    f"{' '.join(fields)[:80]!r}"
                )
        classes = [fields[1] for _, fields in rows]
        chosen = named_list(file, [fields[0] for _, fields in rows], classes, names, [n for n, _ in rows])
    return listed_source(chosen, tuple(names), folder, base, _SIZE, "crop")


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
