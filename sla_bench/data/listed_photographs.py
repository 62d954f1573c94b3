"""Photographs in their makers' lists: ImageNet-LT, iNaturalist, CUB, MIT67, Stanford Dogs."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sla_bench.data.base import Split
from sla_bench.data.layouts import Layout
from sla_bench.data.lists import ImageList, class_names_of, named_list, read_image_list, read_lines
from sla_bench.data.photographs import photograph_source, photographs
from sla_bench.data.sources import SplitSource
from sla_bench.errors import UserError

_Lists = Mapping[Split, tuple[str, ...]]
"""Files of each split; the training list decides the classes of all."""
_Read = Callable[[Path, Split], ImageList]
_LARGEST_MAT = 1 << 22
"""Bytes of a MATLAB file; its variables are at most a thousand times as large."""
_UNREADABLE_MAT = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, MemoryError, OverflowError,
    NotImplementedError, RecursionError, AssertionError, zlib.error, struct.error,
)  # fmt: skip


def _layout(
    name: str, folders: tuple[str, ...], lists: _Lists, read: _Read, images: str | None = None
) -> Layout:
    """Lists, and images below the folder `images`; None: anywhere beside the lists."""
    inside = [images] if images else []

    def source(base: Path, split: Split) -> SplitSource:
        train = read(base, "train")
        chosen = train if split == "train" else read(base, split)
        return photograph_source(chosen, class_names_of(train), base / (images or ""), base, split)

    return Layout(
        name=name,
        folders=folders,
        files=lambda base, split: [base / file for file in (*lists[split], *inside)],
        read=source,
        decoded=True,
        splits=tuple(lists),
    )


def _beside_train(lists: Mapping[Split, str]) -> _Lists:
    """Every split needs its own list and that of the training images."""
    return {split: tuple(dict.fromkeys((name, lists["train"]))) for split, name in lists.items()}


def _long_tailed(
    folder: str, lists: Mapping[Split, str], images: str, read: Callable[[Path], ImageList] = read_image_list
) -> Layout:
    name = f"{folder}/ with {', '.join(lists.values())} and {images}"
    return _layout(name, (folder,), _beside_train(lists), lambda base, split: read(base / lists[split]))


def read_annotations(file: Path) -> ImageList:
    """Read iNaturalist's `train2018.json` or `val2018.json`: paths of the images, categories as labels.

    Raises:
        UserError: not JSON, a missing key, images and annotations that do not belong together one to one; or
            as `ImageList`.
    """
    try:
        content = json.loads(file.read_bytes())
        images = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
        labels = {entry["image_id"]: entry["category_id"] for entry in content["annotations"]}
        found = np.array([labels[image] for image in images])
    except KeyError as error:
        raise UserError(f"{file} is damaged: it lacks {error.args[0]!r}; fetch it again") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"cannot read {file}: {error}; fetch it again") from None
    counts = {len(images), len(labels), len(content["images"]), len(content["annotations"])}
    if len(counts) != 1 or not images or found.dtype.kind != "i" or found.min() < 0:
        raise UserError(
            f"{file} is damaged: it must have one annotation, with a 'category_id' from 0 on, for each "
            f"image; found {len(labels):,} for {len(images):,}"
        )
    numbers = tuple(range(1, len(images) + 1))
    return ImageList(file, tuple(images.values()), found.astype(np.int64), numbers, unit="image")


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


_CUB = ("images.txt", "train_test_split.txt", "image_class_labels.txt")


def _read_cub(base: Path, split: Split) -> ImageList:
    files = [base / name for name in _CUB]
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


_ROOMS: Mapping[Split, str] = {"train": "TrainImages.txt", "test": "TestImages.txt"}


def _read_rooms(base: Path, split: Split) -> ImageList:
    """The folder of an image is its class; labels follow the sorted names of the training images."""
    file = base / _ROOMS[split]
    lines = read_lines(file)
    for number, image in lines:
        if not _folder(image):
            raise UserError(
                f"line {number} of {file} must be the path of an image in a folder, found {image!r}"
            )
    images = [image for _, image in lines]
    names = sorted({_folder(image) for _, image in read_lines(base / _ROOMS["train"])})
    return named_list(file, images, list(map(_folder, images)), names, [number for number, _ in lines])


def _folder(image: str) -> str:
    return PurePosixPath(image).parent.name


def _dogs(place: str) -> Mapping[Split, str]:
    return {"train": f"{place}train_list.mat", "test": f"{place}test_list.mat"}


def _read_dogs(place: str, base: Path, split: Split) -> ImageList:
    file = base / _dogs(place)[split]
    variables = _load_mat(file)
    if absent := {"file_list", "labels"} - variables.keys():
        raise UserError(f"{file} has no {min(absent)!r}; found {', '.join(variables) or 'nothing'}")
    images, labels = (np.atleast_1d(variables[name]).ravel().tolist() for name in ("file_list", "labels"))
    if len(images) != len(labels):
        raise UserError(f"{file} has {len(images):,} images and {len(labels):,} labels; fetch it again")
    found = [_label(label, f"entry {i} of 'labels' in {file}") for i, label in enumerate(labels, 1)]
    entries = tuple(range(1, len(images) + 1))
    return ImageList(file, tuple(map(str, images)), np.array(found, np.int64), entries, "entry")


def _load_mat(path: Path) -> dict[str, np.ndarray]:
    """The variables of a MATLAB file up to version 7, without dimensions of length 1."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        if path.stat().st_size > _LARGEST_MAT:
            raise ValueError(f"more than {_LARGEST_MAT:,} bytes")
        content: dict[str, Any] = loadmat(path, squeeze_me=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (MatReadError, *_UNREADABLE_MAT) as error:
        raise UserError(f"cannot read {path}: {error}; fetch it again") from None
    return {name: value for name, value in content.items() if not name.startswith("__")}


IMAGENET_LT = photographs(
    "imagenet_lt",
    1000,
    {"train": 115_846, "val": 20_000, "test": 50_000},
    (
        _long_tailed(
            "ImageNet_LT",
            {
                "train": "ImageNet_LT_train.txt",
                "val": "ImageNet_LT_val.txt",
                "test": "ImageNet_LT_test.txt",
            },
            "the images that they name",
        ),
    ),
    "put the lists of https://github.com/zhmiao/OpenLongTailRecognition-OLTR and ImageNet's folders train/ "
    "and val/ (one folder per class in each, https://image-net.org) into ImageNet_LT/ there",
    group_thresholds=(100, 20),
    long_tailed=True,
)
"""ImageNet-LT (Liu et al., CVPR 2019): 1,000 classes of 1,280 down to 5 training images."""

INATURALIST2018 = photographs(
    "inaturalist2018",
    8142,
    {"train": 437_513, "test": 24_426},
    (
        _long_tailed(
            "iNaturalist18",
            {"train": "iNaturalist18_train.txt", "test": "iNaturalist18_val.txt"},
            "the images that they name",
        ),
        _long_tailed(
            "iNaturalist18",
            {"train": "train2018.json", "test": "val2018.json"},
            "train_val2018/",
            read_annotations,
        ),
    ),
    "put the folder train_val2018/, train2018.json and val2018.json of "
    "https://github.com/visipedia/inat_comp, or the lists of "
    "https://github.com/facebookresearch/classifier-balancing, into iNaturalist18/ there",
    jitter=0.4,
    group_thresholds=(100, 20),
    long_tailed=True,
    validation_is_test=True,
)
"""iNaturalist 2018: 8,142 species of 1,000 down to 2 training images; tested on the validation list, as usual
in the literature. Lists and annotations give the same labels and class names."""

CUB200 = photographs(
    "cub200",
    200,
    {"train": 5_994, "test": 5_794},
    (
        _layout(
            "CUB_200_2011/ with images.txt, image_class_labels.txt, train_test_split.txt and images/",
            ("CUB_200_2011", "CUB_200_2011/CUB_200_2011"),
            {"train": _CUB, "test": _CUB},
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
            _beside_train(_ROOMS),
            _read_rooms,
            "Images",
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
            f"StanfordDogs/ with {place}{{train,test}}_list.mat and Images/",
            ("StanfordDogs", "stanford_dogs", "Stanford_Dogs"),
            _beside_train(_dogs(place)),
            partial(_read_dogs, place),
            "Images",
        )
        for place in ("lists/", "")
    ),
    "unpack images.tar and lists.tar of http://vision.stanford.edu/aditya86/ImageNetDogs/ into StanfordDogs/ "
    "there",
)
"""Stanford Dogs (Khosla et al. 2011): 120 breeds, 100 training images each."""
