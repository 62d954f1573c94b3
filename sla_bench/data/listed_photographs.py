"""CUB-200-2011, MIT indoor scenes and Stanford Dogs, split by their makers' lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sla_bench.data.base import Split
from sla_bench.data.image_lists import ImageList, class_names_of, named_list, read_lines
from sla_bench.data.layouts import Layout
from sla_bench.data.matlab_files import load_mat
from sla_bench.data.photographs import photograph_source, photographs
from sla_bench.data.sources import SplitSource
from sla_bench.errors import UserError

_Lists = Mapping[Split, tuple[str, ...]]
"""Files of each split; the training list decides the classes of both."""
_CUB: _Lists = dict.fromkeys(
    ("train", "test"), ("images.txt", "train_test_split.txt", "image_class_labels.txt")
)
_MIT67: _Lists = {"train": ("TrainImages.txt",), "test": ("TestImages.txt", "TrainImages.txt")}


def _dogs(lists: str) -> _Lists:
    train, test = (f"{lists}{split}_list.mat" for split in ("train", "test"))
    return {"train": (train,), "test": (test, train)}


def _by_id(file: Path) -> dict[str, tuple[int, str]]:
    """Line and value of each id, from lines `ID VALUE`."""
    found: dict[str, tuple[int, str]] = {}
    for number, line in read_lines(file):
        key, _, value = line.partition(" ")
        if not value.strip() or key in found:
            raise UserError(f"line {number} of {file} must be an id, once, and a value, found {line[:80]!r}")
        found[key] = number, value.strip()
    return found


def _label(value: Any, place: str) -> int:
    """0..C-1 from a label that counts from 1."""
    text = str(value).removesuffix(".0")
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise UserError(f"{place} must be a label from 1 on, found {value!r}")
    return int(text) - 1


def _read_cub(base: Path, split: Split) -> ImageList:
    files = [base / name for name in _CUB[split]]
    images, members, labels = map(_by_id, files)
    for file, others in zip(files[1:], (members, labels), strict=True):
        if differing := sorted(images.keys() ^ others.keys()):
            raise UserError(f"{file} and {files[0]} differ: only one of them has the id {differing[0]}")
    for number, member in members.values():
        if member not in ("0", "1"):
            raise UserError(f"line {number} of {files[1]} must be 1 (train) or 0 (test), found {member!r}")
    chosen = [key for key in images if members[key][1] == ("1" if split == "train" else "0")]
    found = [_label(labels[key][1], f"line {labels[key][0]} of {files[2]}") for key in chosen]
    lines, paths = zip(*(images[key] for key in chosen), strict=True) if chosen else ((), ())
    return ImageList(files[0], paths, np.array(found, np.int64), lines)


def _read_mit67(base: Path, split: Split) -> ImageList:
    """The folder of an image is its class; labels follow the sorted names of the training images."""
    file, *_, train = (base / name for name in (*_MIT67[split], "TrainImages.txt"))
    lines = read_lines(file)
    for number, image in lines:
        if not _folder(image):
            raise UserError(
                f"line {number} of {file} must be the path of an image in a folder, found {image!r}"
            )
    images = [image for _, image in lines]
    names = sorted({_folder(image) for _, image in read_lines(train)})
    return named_list(file, images, list(map(_folder, images)), names, [number for number, _ in lines])


def _folder(image: str) -> str:
    return PurePosixPath(image).parent.name


def _read_dogs(lists: str, base: Path, split: Split) -> ImageList:
    file = base / _dogs(lists)[split][0]
    variables = load_mat(file)
    if absent := {"file_list", "labels"} - variables.keys():
        raise UserError(f"{file} has no {min(absent)!r}; found {', '.join(variables) or 'nothing'}")
    images, labels = (np.atleast_1d(variables[name]).ravel().tolist() for name in ("file_list", "labels"))
    if len(images) != len(labels):
        raise UserError(f"{file} has {len(images):,} images and {len(labels):,} labels; fetch it again")
    found = [_label(label, f"entry {i} of 'labels' in {file}") for i, label in enumerate(labels, 1)]
    entries = tuple(range(1, len(images) + 1))
    return ImageList(file, tuple(map(str, images)), np.array(found, np.int64), entries, "entry")


def _read(read: Callable[[Path, Split], ImageList], images: str, base: Path, split: Split) -> SplitSource:
    train = read(base, "train")
    chosen = train if split == "train" else read(base, split)
    return photograph_source(chosen, class_names_of(train), base / images, base, split)


def _layout(
    name: str,
    folders: tuple[str, ...],
    lists: _Lists,
    read: Callable[[Path, Split], ImageList],
    images: str = "Images",
) -> Layout:
    return Layout(
        name=name,
        folders=folders,
        files=lambda base, split: [*(base / file for file in lists[split]), base / images],
        read=partial(_read, read, images),
        decoded=True,
        splits=("train", "test"),
    )


CUB200 = photographs(
    "cub200",
    200,
    {"train": 5_994, "test": 5_794},
    (
        _layout(
            "CUB_200_2011/ with images.txt, image_class_labels.txt, train_test_split.txt and images/",
            ("CUB_200_2011", "CUB_200_2011/CUB_200_2011"),
            _CUB,
            _read_cub,
            "images",
        ),
    ),
    "unpack CUB_200_2011.tgz of https://www.vision.caltech.edu/datasets/cub_200_2011/ there",
)
"""Caltech-UCSD Birds (Wah et al. 2011): 200 species, about 30 training images each."""

MIT67 = photographs(
    "mit67",
    67,
    {"train": 5_360, "test": 1_340},
    (
        _layout(
            "MIT67/ with TrainImages.txt, TestImages.txt and Images/",
            ("MIT67", "mit67", "indoorCVPR_09"),
            _MIT67,
            _read_mit67,
        ),
    ),
    "unpack indoorCVPR_09.tar of https://web.mit.edu/torralba/www/indoor.html into MIT67/ there, and put "
    "TrainImages.txt and TestImages.txt of the same page beside Images/",
)
"""Indoor scenes (Quattoni and Torralba, CVPR 2009): 67 kinds of room, 80 training and 20 test images each."""

STANFORD_DOGS = photographs(
    "stanford_dogs",
    120,
    {"train": 12_000, "test": 8_580},
    tuple(
        _layout(
            f"StanfordDogs/ with {lists}{{train,test}}_list.mat and Images/",
            ("StanfordDogs", "stanford_dogs", "Stanford_Dogs"),
            _dogs(lists),
            partial(_read_dogs, lists),
        )
        for lists in ("lists/", "")
    ),
    "unpack images.tar and lists.tar of http://vision.stanford.edu/aditya86/ImageNetDogs/ into StanfordDogs/ "
    "there",
)
"""Stanford Dogs (Khosla et al. 2011): 120 breeds, 100 training images each."""
