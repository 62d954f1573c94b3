"""miniImageNet and tieredImageNet in their layouts, and the files of learn2learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.data.arrays import npz_images
from sla_bench.data.base import ImageProperties, Split
from sla_bench.data.cifar100_few_shot import (
    CIFAR_FS,
    FC100,
    PROCESSED,
    R2D2,
    category_pickles,
    pickle_layout,
)
from sla_bench.data.class_lists import SPLITS, check_classes, fc100_labels, mini_imagenet_wnids
from sla_bench.data.layouts import Layout, LayoutDataset
from sla_bench.data.lists import listed_source, named_list, read_table
from sla_bench.data.pickles import load_dict, load_pickle
from sla_bench.data.sources import (
    EncodedImages,
    Promise,
    SplitSource,
    array_blocks,
    as_images,
    as_int_vector,
    decoded_source,
    relabel,
)
from sla_bench.errors import UserError, unknown

_SIZE = 84
_MINI_PROMISE = Promise(size=_SIZE, per_class=600)
# A list names each of its images, so that a lost one is found; any number of a class is taken as it is.
_LIST_PROMISE = Promise(size=_SIZE, per_class=600, equal=False)
_WNIDS = {split: mini_imagenet_wnids(split) for split in SPLITS}
# Labels of MetaOptNet's pickles; used only to notice files that were swapped.
_CATEGORIES: dict[Split, tuple[int, ...]] = {
    "train": tuple(range(64)),
    "val": tuple(range(64, 80)),
    "test": tuple(range(80, 100)),
}
_MINI_FOLDERS = ("miniImageNet", "mini-imagenet", "mini_imagenet")


def _cache_pickle(base: Path, split: Split) -> Path:
    long_name = base / "mini-imagenet-cache-validation.pkl"
    if split == "val" and long_name.exists():
        return long_name
    return base / f"mini-imagenet-cache-{split}.pkl"


def _read_cache(base: Path, split: Split) -> SplitSource:
    path = _cache_pickle(base, split)
    content = load_dict(path, "image_data", "class_dict")
    images = as_images(content["image_data"], str(path))
    members = content["class_dict"]
    if not isinstance(members, dict) or not all(isinstance(name, str | bytes) for name in members):
        raise UserError(f"{path}: 'class_dict' must give the images of each class")
    by_name = {n.decode("latin1") if isinstance(n, bytes) else n: index for n, index in members.items()}
    check_classes(frozenset(by_name), split, _WNIDS, str(path))
    names = tuple(sorted(by_name))
    indices = [as_int_vector(by_name[name], f"{path}, class {name}") for name in names]
    index = np.concatenate(indices)
    if not np.array_equal(np.sort(index), np.arange(len(images))):
        raise UserError(
            f"{path} is damaged: 'class_dict' must name each of the {len(images)} images exactly once"
        )
    labels = np.repeat(np.arange(len(names)), [len(part) for part in indices]).astype(np.int64)
    _MINI_PROMISE.check(images.shape, labels, names, str(path))
    return SplitSource(images.shape, labels, names, array_blocks(images, index))


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """Class and image of each row of a Ravi and Larochelle or an easy-few-shot-learning list."""
    table = read_table(path)
    header = next(table)
    if {"filename", "label"} <= set(header):
        yield from ((row["label"], row["filename"]) for row in table)
    elif {"class_name", "image_name"} <= set(header):
        for row in table:
            yield row["class_name"], f"{row['class_name']}/{Path(row['image_name']).name}"
    else:
        raise UserError(
            f"{path} must begin with the columns filename,label or class_name,image_name; "
            f"found {','.join(header) or 'nothing'}"
        )


def _read_list(images: str, base: Path, split: Split) -> SplitSource:
    listing, names = base / f"{split}.csv", _WNIDS[split]
    rows = sorted(((*row, line) for line, row in enumerate(_rows(listing), start=2)), key=lambda row: row[0])
    if any(not name or not image for name, image, _ in rows):
        raise UserError(f"{listing} is damaged: a row has an empty field")
    check_classes(frozenset(name for name, *_ in rows), split, _WNIDS, str(listing))
    classes, paths, lines = zip(*rows, strict=True)
    chosen = named_list(listing, paths, classes, names, lines)
    # The makers' script resizes without regard to the aspect ratio.
    source = listed_source(chosen, names, base / images, base, _SIZE, IMAGENET_84.fit)
    _LIST_PROMISE.check(source.shape, source.labels, names, str(listing))
    return source


CACHE = Layout(
    name="learn2learn's mini-imagenet-cache-{train,validation or val,test}.pkl",
    folders=(*_MINI_FOLDERS, ""),
    files=lambda base, split: [_cache_pickle(base, split)],
    read=_read_cache,
)
_LAYOUTS = (
    category_pickles(
        "MetaOptNet's miniImageNet/miniImageNet_category_split_{train_phase_train,val,test}.pickle",
        _MINI_FOLDERS,
        {
            split: f"miniImageNet_category_split_{phase}.pickle"
            for split, phase in zip(SPLITS, ("train_phase_train", "val", "test"), strict=True)
        },
        _MINI_PROMISE,
        _CATEGORIES,
    ),
    CACHE,
    Layout(
        name="Ravi and Larochelle's miniImageNet/{train,val,test}.csv with miniImageNet/images/",
        folders=_MINI_FOLDERS,
        files=lambda base, split: [base / f"{split}.csv", base / "images"],
        read=partial(_read_list, "images"),
        decoded=True,
    ),
    Layout(
        name="easy-few-shot-learning's miniImageNet/{train,val,test}.csv with miniImageNet/CLASS/*.JPEG",
        folders=_MINI_FOLDERS,
        files=lambda base, split: [base / f"{split}.csv", *(base / name for name in _WNIDS[split])],
        read=partial(_read_list, ""),
        decoded=True,
    ),
)

IMAGENET_84 = ImageProperties(
    size=_SIZE,
    mean=(120.39586422 / 255, 115.59361427 / 255, 104.54012653 / 255),
    std=(70.68188272 / 255, 68.27635443 / 255, 72.54505529 / 255),
    crop_padding=8,
    flip=True,
    jitter=0.4,
    fit="stretch",
)
"""MetaOptNet's, for miniImageNet and tieredImageNet alike (Lee et al. 2019)."""

MINI_IMAGENET = LayoutDataset(
    name="mini_imagenet",
    properties=IMAGENET_84,
    origin=(
        "ImageNet's licence forbids a direct download: follow the links of "
        "https://github.com/kjunelee/MetaOptNet or https://github.com/twitter-research/meta-learning-lstm"
    ),
    classes={"train": 64, "val": 16, "test": 20},
    layouts=_LAYOUTS,
    alternative="use imagenet_lt for the same classes in training and test",
)
"""miniImageNet; images of another size are resized to 84 x 84 regardless of their aspect ratio."""


_TIERED_PROMISE = Promise(size=_SIZE)
_TIERED_FOLDERS = ("tieredImageNet", "tiered-imagenet", "tiered_imagenet")


def _npz_files(base: Path, split: Split) -> list[Path]:
    return [base / f"{split}_images.npz", base / f"{split}_labels.pkl"]


def _png_files(base: Path, split: Split) -> list[Path]:
    return [base / f"{split}_images_png.pkl", base / f"{split}_labels.pkl"]


def _read_labels(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    content = load_dict(path)
    key = next((key for key in ("label_specific", "labels") if key in content), None)
    if key is None:
        raise UserError(f"{path} has neither 'label_specific' nor 'labels'")
    labels, values = relabel(as_int_vector(content[key], str(path)))
    return labels, _class_names(content.get("label_specific_str"), values)


def _class_names(texts: Any, values: list[int]) -> tuple[str, ...]:
    """The names that go with the labels if there is one for each of 0..C-1, else numbers."""
    plain = isinstance(texts, list | tuple) and all(isinstance(text, str | bytes) for text in texts)
    if plain and len(set(texts)) == len(texts) and values == list(range(len(texts))):
        return tuple(text.decode("latin1") if isinstance(text, bytes) else text for text in texts)
    return tuple(f"class {value}" for value in values)


def _read_npz(base: Path, split: Split) -> SplitSource:
    # OpenCV wrote the archives: blue, green, red. MetaOptNet leaves them so, though its mean is not.
    archive, label_file = _npz_files(base, split)
    shape, blocks = npz_images(archive, "images", reverse_channels=True)
    labels, names = _read_labels(label_file)
    _TIERED_PROMISE.check(shape, labels, names, f"{archive} with {label_file.name}")
    return SplitSource(shape, labels, names, blocks)


def _read_png(base: Path, split: Split) -> SplitSource:
    """Needs as much memory as the pickle is large (9 GB for the published training split)."""
    path, label_file = _png_files(base, split)
    images = load_pickle(path)
    if not isinstance(images, list | tuple) or not all(
        isinstance(image, bytes | bytearray) or (isinstance(image, np.ndarray) and image.dtype == np.uint8)
        for image in images
    ):
        raise UserError(f"{path} must hold a list of PNG files as bytes")
    labels, names = _read_labels(label_file)
    encoded = EncodedImages(images, _SIZE, IMAGENET_84.fit, lambda position: f"{position} in {path}")
    source = decoded_source(encoded, labels, names)
    _TIERED_PROMISE.check(source.shape, labels, names, f"{path} with {label_file.name}")
    return source


PNG_PICKLES = Layout(
    name="Ren et al.'s tiered-imagenet/{train,val,test}_images_png.pkl with _labels.pkl",
    folders=_TIERED_FOLDERS,
    files=_png_files,
    read=_read_png,
    decoded=True,
)

TIERED_IMAGENET = LayoutDataset(
    name="tiered_imagenet",
    properties=IMAGENET_84,
    origin=(
        "ImageNet's licence forbids a direct download: follow the links of "
        "https://github.com/kjunelee/MetaOptNet or https://github.com/renmengye/few-shot-ssl-public"
    ),
    classes={"train": 351, "val": 97, "test": 160},
    layouts=(
        Layout(
            name="MetaOptNet's tieredImageNet/{train,val,test}_images.npz with _labels.pkl",
            folders=_TIERED_FOLDERS,
            files=_npz_files,
            read=_read_npz,
        ),
        PNG_PICKLES,
    ),
    alternative="use imagenet_lt for the same classes in training and test",
)
"""tieredImageNet; its splits share neither classes nor categories."""


_SOURCE = "https://zenodo.org/record/7978538"


# Read by our own readers: learn2learn's classes unpickle whatever a file asks for.
# learn2learn's CIFARFS makes `processed` of the other folder, and prefers it.
_KEPT: dict[str, tuple[LayoutDataset, tuple[Layout, ...]]] = {
    "FC100": (FC100, (pickle_layout("", "FC100", fc100_labels),)),
    "CIFARFS": (
        CIFAR_FS,
        (PROCESSED, replace(R2D2, name=f"cifarfs/ with {R2D2.name}", folders=("cifarfs/cifar100",))),
    ),
    "MiniImagenet": (MINI_IMAGENET, (replace(CACHE, folders=("",)),)),
    "TieredImagenet": (TIERED_IMAGENET, (replace(PNG_PICKLES, folders=("tiered-imagenet",)),)),
}


def learn2learn_files(name: str) -> LayoutDataset:
    """The data set of that name in `learn2learn.vision.datasets`, with the properties of ours.

    Args:
        name: FC100, CIFARFS, MiniImagenet or TieredImagenet.

    Raises:
        UserError: no such data set.
    """  # noqa: DOC501
    if name not in _KEPT:
        raise unknown("data set of learn2learn", name, _KEPT)
    same, layouts = _KEPT[name]
    return replace(
        same,
        name=f"learn2learn:{name}",
        origin=(
            f"nothing is downloaded here: learn2learn.vision.datasets.{name}(root, mode, download=True) "
            f"fetches the files from {_SOURCE} to where they belong, root being this folder"
        ),
        layouts=layouts,
        fetch=None,
    )
