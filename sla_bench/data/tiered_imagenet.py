"""tieredImageNet (Ren et al., ICLR 2018): 608 classes in 34 categories."""

# The two layouts give the same pixels. The PNG files decode to red, green, blue; MetaOptNet's archives were
# written by OpenCV, that is in the order blue, green, red, and are reversed here (MetaOptNet itself leaves
# them as they are, although its mean and deviation are in the order red, green, blue).

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.data.array_files import load_dict, npz_images
from sla_bench.data.base import Split
from sla_bench.data.encoded_images import EncodedImages
from sla_bench.data.layouts import Layout, LayoutDataset
from sla_bench.data.mini_imagenet import IMAGENET_84
from sla_bench.data.restricted_pickle import load_pickle
from sla_bench.data.sources import Promise, SplitSource, as_int_vector, decoded_source, relabel
from sla_bench.errors import UserError

_SIZE = 84
_PROMISE = Promise(size=_SIZE)
_FOLDERS = ("tieredImageNet", "tiered-imagenet", "tiered_imagenet")


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
    archive, label_file = _npz_files(base, split)
    shape, blocks = npz_images(archive, "images", reverse_channels=True)
    labels, names = _read_labels(label_file)
    _PROMISE.check(shape, labels, names, f"{archive} with {label_file.name}")
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
    _PROMISE.check(source.shape, labels, names, f"{path} with {label_file.name}")
    return source


PNG_PICKLES = Layout(
    name="Ren et al.'s tiered-imagenet/{train,val,test}_images_png.pkl with _labels.pkl",
    folders=_FOLDERS,
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
            folders=_FOLDERS,
            files=_npz_files,
            read=_read_npz,
        ),
        PNG_PICKLES,
    ),
    alternative="use imagenet_lt for the same classes in training and test",
)
"""tieredImageNet; its splits share neither classes nor categories."""
