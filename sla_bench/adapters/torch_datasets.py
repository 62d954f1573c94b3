"""`LabeledImages` from any map-style torch data set, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.data.images import as_rgb
from sla_bench.data.sources import relabel
from sla_bench.errors import UserError
from sla_bench.views.augment import ImageBatches

_READINGS_OF_THE_FIRST = 8
_GREY_MODES = ("1", "L")


class TorchImages(Dataset[tuple[Tensor, int]]):
    """Our images as a map-style data set: item i is (float32 (3, H, W), label).

    Args:
        images: the images; they stay where they are.
        properties: normalises them, so that a model sees the same numbers as in a run of ours, and cuts the
            centre out of larger ones; None: pixels are 0..1.

    Attributes:
        targets: N labels, 0..C-1.
        classes: C names.

    Raises:
        UserError: the images are not as large as the properties say.
    """

    def __init__(self, images: LabeledImages, properties: ImageProperties | None = None) -> None:
        if properties is None:
            height, width = images.images.shape[1:3]
            if height != width:
                raise UserError(f"images must be square, these are {height} x {width}")
            properties = ImageProperties(height, mean=(0, 0, 0), std=(1, 1, 1))
        self._batches = ImageBatches(images, properties)
        self.targets: list[int] = images.labels.tolist()
        self.classes = list(images.class_names)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The image, normalised, and its label."""
        return self._batches.plain(torch.tensor([index]))[0].contiguous(), self.targets[index]


def from_torch_dataset(dataset: Any, class_names: Sequence[str] | None = None) -> LabeledImages:
    """Read a map-style torch data set of (image, label); image i of the result is its item i.

    A `MetaDataset` of learn2learn is one; of its `Taskset` the data set behind it is read. Every image is
    read once and kept in memory.

    Args:
        dataset: its images are pictures of Pillow, arrays uint8 (H, W) or (H, W, C), or tensors (C, H, W) of
            uint8, of floats 0..1 (rounded to steps of 1/255) or of whole numbers 0..255; C is 1 or 3, all
            have one size, and there must be no random transform. Its labels are whole numbers or texts; in
            ascending order they become 0..C-1.
        class_names: C names in ascending order of the labels; None: the data set's `classes` where its
            labels count them, else made of the labels.

    Raises:
        UserError: not map-style, without items, an item is no such pair, images differ in size or are
            normalised or augmented, or names that do not fit.
    """
    source = dataset.dataset if hasattr(dataset, "sample_task_description") else dataset
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
        raise UserError(
            f"{type(source).__name__} is not map-style: a data set needs `dataset[i]` and `len(dataset)`"
        )
    if not len(source):
        raise UserError(f"{type(source).__name__} has no items")
    _refuse_random(source)
    reader, own = PixelReader(len(source)), []
    for position in range(len(source)):
        image, label = _pair(source, position)
        reader.add(position, image)
        own.append(_plain_label(label, position))
    raw = _labels_of_tasks(source, len(own)) or own
    kinds = {type(label).__name__ for label in raw}
    if len(kinds) > 1:
        raise UserError(f"labels must be all whole numbers or all texts, found {' and '.join(sorted(kinds))}")
    labels, values = relabel(np.asarray(raw))
    names = class_names if class_names is not None else _names(values, _classes(source) if raw == own else [])
    if len(names) != len(values):
        raise UserError(f"{len(names)} class names for {len(values)} classes")
    pixels, grey = reader.finish()
    return LabeledImages(pixels, labels, tuple(names), grey=grey)


def _pair(source: Any, position: int) -> tuple[Any, Any]:
    item = source[position]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise UserError(f"item {position} of the data set must be a pair (image, label)")
    return item[0], item[1]


def _refuse_random(source: Any) -> None:
    """A random transform shows in the first image, almost surely, when it is read a few times."""
    first = PixelReader(1)
    first.add(0, _pair(source, 0)[0])
    expected, _ = first.finish()
    for _ in range(_READINGS_OF_THE_FIRST - 1):
        again = PixelReader(1)
        again.add(0, _pair(source, 0)[0])
        pixels, _ = again.finish()
        if not np.array_equal(pixels, expected):
            raise UserError(
                "the first image changes from reading to reading: take augmentation out of the data set's "
                "transform"
            )


def _plain_label(label: Any, position: int) -> int | str:
    if isinstance(label, str):
        return label
    try:
        value = label.item() if hasattr(label, "item") else label
        if value == int(value):
            return int(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise UserError(f"label {position} must be a whole number or a text, found {type(label).__name__}")


def _labels_of_tasks(source: Any, count: int) -> list[int | str]:
    """The labels behind the tasks of a `MetaDataset`, which can differ from its items' labels."""
    kept = getattr(source, "indices_to_labels", None)
    if not isinstance(kept, Mapping):
        return []
    absent = next((position for position in range(count) if position not in kept), None)
    if absent is not None:
        raise UserError(f"the MetaDataset knows no label of its item {absent}")
    return [_plain_label(kept[position], position) for position in range(count)]


def _classes(source: Any) -> Sequence[Any]:
    """The names that the data set, or the one that it is a part of, has for labels 0, 1, ..."""
    while source is not None:
        if getattr(source, "classes", None) is not None:
            return list(source.classes)
        source = getattr(source, "dataset", None)
    return []


def _names(values: list[Any], classes: Sequence[Any]) -> list[str]:
    """A name for each of the ascending labels."""
    if isinstance(values[0], str):
        return values
    if values[0] >= 0 and values[-1] < len(classes):
        return [str(classes[value]) for value in values]
    return [f"class {value}" for value in values]


class PixelReader:
    """Collects images of one size; their kind is known once all have been seen.

    Floats are 0..1, as torchvision's `ToTensor` makes them, or whole numbers 0..255, as learn2learn's
    MiniImagenet has them. An image of nothing but zeros and ones could be either: the others decide, and
    without any other it is 0..1.

    Args:
        count: N, number of images to come.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pixels: np.ndarray | None = None
        self._all_grey = True
        self._unit: float | None = None  # what white is among the floats seen so far
        self._undecided: list[int] = []

    def add(self, position: int, image: Any) -> None:
        """Take the image at a position.

        Raises:
            UserError: not an image, of another size than the first, normalised, or floats on another scale.
        """
        array = _rows_columns_channels(image, position)
        if self._pixels is None:
            self._pixels = np.empty((self._count, *array.shape[:2], 3), np.uint8)
        if array.shape[:2] != self._pixels.shape[1:3]:
            own, other = array.shape[:2], self._pixels.shape[1:3]
            raise UserError(
                f"image {position} has {own[0]} x {own[1]} pixels, another {other[0]} x {other[1]}: give the "
                "data set a transform that resizes"
            )
        self._all_grey = self._all_grey and array.shape[2] == 1
        if array.dtype != np.uint8:
            array = self._as_bytes(array, position)
        self._pixels[position] = array  # one channel is repeated

    def finish(self) -> tuple[np.ndarray, bool]:
        """All images, uint8 (N, H, W, 3), and whether each has one channel only."""
        assert self._pixels is not None
        if self._unit != 255:
            self._pixels[self._undecided] *= 255
        return self._pixels, self._all_grey

    def _as_bytes(self, array: np.ndarray, position: int) -> np.ndarray:
        low, high = float(array.min()), float(array.max())
        whole = bool((array == array.round()).all())
        if not low >= 0 or not high <= 255 or (high > 1 and not whole):
            raise UserError(
                f"image {position} has values from {low:.4g} to {high:.4g}; floats must be 0..1 or whole "
                "numbers 0..255: take normalisation out of the data set's transform"
            )
        if high <= 1 and whole:
            self._undecided.append(position)
            return array.round().astype(np.uint8)
        unit = 255.0 if high > 1 else 1.0
        if self._unit not in (None, unit):
            raise UserError(
                f"image {position} has values up to {high:.4g}, others up to {self._unit:g}: they must be on "
                "one scale"
            )
        self._unit = unit
        return (array * (255 / unit)).round().astype(np.uint8)


def _rows_columns_channels(image: Any, position: int) -> np.ndarray:
    """uint8 or float (H, W, C), C 1 or 3."""
    if isinstance(image, Image.Image):
        array = np.asarray(image.convert("L") if image.mode in _GREY_MODES else as_rgb(image))
    elif isinstance(image, Tensor):
        array = image.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise UserError(
            f"item {position} of the data set begins with a {type(image).__name__} instead of an image"
        )
    array = array[..., None] if array.ndim == 2 else array
    known = array.dtype == np.uint8 or np.issubdtype(array.dtype, np.floating)
    if array.ndim != 3 or array.shape[2] not in (1, 3) or not known or not array.size:
        layout = "(C, H, W)" if isinstance(image, Tensor) else "(H, W, C)"
        raise UserError(
            f"image {position} must be uint8 or float {layout} with 1 or 3 channels, found {array.dtype} "
            f"{tuple(image.shape) if hasattr(image, 'shape') else array.shape}"
        )
    return array
