"""A split on disk: labels at once, pixels block by block."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sla_bench.data.base import Fit, ImageProperties, LabeledImages
from sla_bench.data.depth import Depth
from sla_bench.data.images import decode, list_images
from sla_bench.errors import UserError

_DECODED = 64  # images; 12 MB at 256 x 256


class Unreadable(NamedTuple):
    """An image that can't be decoded: its position, and the sentence that names it and says why."""

    position: int
    message: str


class Block(NamedTuple):
    """Consecutive images: pixels uint8 (n, size, size, 3) of those that can be read, and the others."""

    pixels: np.ndarray
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True)
class EncodedImages:
    """Images that still have to be decoded.

    Args:
        images: files, their contents as bytes or uint8 (b,), or loaded images.
        size: height = width of the results in pixels.
        fit: as in `decode`.
        name: name of the image at a position, for messages.
        base: folder to which `short_name` is relative.
        negative: bright and dark are exchanged.
        depth: as in `decode`.
    """

    images: Sequence[Path | bytes | np.ndarray | Image.Image]
    size: int
    fit: Fit
    name: Callable[[int], str]
    base: Path | None = None
    negative: bool = False
    depth: Depth | None = None

    def __len__(self) -> int:
        return len(self.images)

    def short_name(self, position: int) -> str:
        """Path of an image below `base`; its name where it is no file there."""
        image = self.images[position]
        if isinstance(image, Path) and self.base is not None and image.is_relative_to(self.base):
            return image.relative_to(self.base).as_posix()
        return self.name(position)

    def blocks(self, start: int = 0, workers: int | None = None) -> Iterator[Block]:
        """Decode all images from a position on, in order, with a few blocks in flight.

        Args:
            start: position of the first image.
            workers: threads; None: one per core that this process may use.
        """
        starts = range(start, len(self.images), _DECODED)
        count = min(workers or available_cores(), len(starts))
        if count <= 1:
            yield from map(self._decoded, starts)
            return
        waiting: deque[Future[Block]] = deque()
        with ThreadPoolExecutor(count) as pool:
            try:
                for first in starts:
                    waiting.append(pool.submit(self._decoded, first))
                    if len(waiting) > 2 * count:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def chosen(self, positions: Iterable[int]) -> Iterator[Block]:
        """Decode some images, one at a time."""
        return (self._decoded(position, 1) for position in positions)

    def _decoded(self, first: int, count: int = _DECODED) -> Block:
        """Decode the block that begins at a position."""
        count = min(count, len(self.images) - first)
        pixels = np.empty((count, self.size, self.size, 3), np.uint8)
        unreadable: list[Unreadable] = []
        for position in range(first, first + count):
            image = self.images[position]
            content = image.tobytes() if isinstance(image, np.ndarray) else image
            try:
                square = decode(content, self.size, self.fit, self.name(position), self.depth)
                pixels[position - first - len(unreadable)] = square
            except UserError as error:
                unreadable.append(Unreadable(position, str(error)))
        kept = pixels[: count - len(unreadable)]
        return Block(255 - kept if self.negative else kept, tuple(unreadable))

    def pixels(self) -> Iterator[np.ndarray]:
        """All images, uint8 (n, size, size, 3) at a time.

        Raises:
            UserError: one of them can't be decoded.
        """
        for block in self.blocks():
            if block.unreadable:
                raise UserError(block.unreadable[0].message)
            yield block.pixels


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


BLOCK = 512
"""Images per block: 11 MB at 84 x 84."""


@dataclass(frozen=True)
class SplitSource:
    """A split before its pixels are read.

    Args:
        shape: (N, H, W, 3).
        labels: int64 (N,), values 0..C-1, every class at least once.
        class_names: C names.
        blocks: returns an iterator over uint8 arrays (n, H, W, 3) that together are the N images in order.
        encoded: the N images, where `blocks` decodes them.
    """

    shape: tuple[int, int, int, int]
    labels: np.ndarray
    class_names: tuple[str, ...]
    blocks: Callable[[], Iterator[np.ndarray]]
    encoded: EncodedImages | None = None

    @property
    def num_bytes(self) -> int:
        """Size of all pixels in memory."""
        return int(np.prod(self.shape, dtype=np.int64))

    def read(self) -> LabeledImages:
        """All images in memory, writable."""
        images = np.empty(self.shape, np.uint8)
        start = 0
        for block in self.blocks():
            images[start : start + len(block)] = block
            start += len(block)
        return LabeledImages(images, self.labels, self.class_names)


@dataclass(frozen=True)
class Promise:
    """What the makers of a data set promise, and what is therefore checked in every file.

    A file may be a smaller version of the published one (some images of every class). Lost, doubled or
    foreign images are found nevertheless, because they break these rules.

    Args:
        size: height = width in pixels.
        per_class: images of each class, the same for all classes. None: the classes are of unequal size.
        equal: smaller versions must have equally many images of each class, too.
    """

    size: int
    per_class: int | None = None
    equal: bool = True

    def check(self, shape: tuple[int, ...], labels: np.ndarray, names: Sequence[str], where: str) -> None:
        """Compare a split with the promise.

        Args:
            shape: of the images, (N, H, W, 3).
            labels: int64 (N,), 0..C-1.
            names: C class names.
            where: file or folder, for the message.

        Raises:
            UserError: images of another shape, another number of labels than images, classes of unequal size
                or larger than published.
        """
        if len(shape) != 4 or shape[1:] != (self.size, self.size, 3):
            raise UserError(
                f"{where} must hold images of shape (N, {self.size}, {self.size}, 3), found {tuple(shape)}"
            )
        if shape[0] != len(labels):
            raise UserError(f"{where} is damaged: {shape[0]} images but {len(labels)} labels")
        if self.per_class is None:
            return
        counts = np.bincount(labels, minlength=len(names))
        few, many = int(counts.argmin()), int(counts.argmax())
        if self.equal and counts[few] != counts[many]:
            raise UserError(
                f"{where} is damaged: every class has the same number of images ({self.per_class} as "
                f"published), but {names[few]!r} has {counts[few]} and {names[many]!r} has {counts[many]}"
            )
        if counts[many] > self.per_class:
            raise UserError(
                f"{where} has {counts[many]} images of the class {names[many]!r}, more than the "
                f"{self.per_class} published"
            )


def decoded_source(images: EncodedImages, labels: np.ndarray, class_names: tuple[str, ...]) -> SplitSource:
    """The split of images that have to be decoded, with their labels, int64 (N,)."""
    shape = (len(images), images.size, images.size, 3)
    return SplitSource(shape, labels, class_names, images.pixels, images)


def relabel(raw: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Labels 0..C-1, int64 (N,), in the order of the sorted raw values (N,), and those C values."""
    values, labels = np.unique(raw, return_inverse=True)
    return labels.reshape(-1).astype(np.int64), values.tolist()


def array_blocks(images: np.ndarray, index: np.ndarray | None = None) -> Callable[[], Iterator[np.ndarray]]:
    """Blocks (n, H, W, 3) of images (N, H, W, 3); of those at `index`, integers (k,), in its order."""

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(images if index is None else index), BLOCK):
            part = slice(start, start + BLOCK)
            yield images[part if index is None else index[part]]

    return blocks


def as_int_vector(value: Any, where: str) -> np.ndarray:
    """A list or array of whole numbers as int64 (N,).

    Raises:
        UserError: anything else.
    """
    # NumPy makes of nested lists and of texts whatever they ask for, however large.
    whole = isinstance(value, list | tuple) and all(
        type(i) is int or isinstance(i, np.integer) for i in value
    )
    array = np.asarray(value) if whole or isinstance(value, np.ndarray) else np.empty(())
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise UserError(f"{where}: labels must be a list of whole numbers")
    if array.dtype == np.uint64 and array.max() > np.iinfo(np.int64).max:
        raise UserError(f"{where}: {array.max()} is not a label")
    return array.astype(np.int64)


def as_images(value: Any, where: str) -> np.ndarray:
    """An array of images as it is, uint8 (N, H, W, 3).

    Raises:
        UserError: anything else.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 4 or value.shape[3] != 3:
        found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise UserError(f"{where}: images must be an array of uint8 (N, H, W, 3), found {found}")
    return value


def read_class_folders(
    folders: Sequence[Path],
    names: Sequence[str],
    properties: ImageProperties,
    promise: Promise,
    base: Path,
    *,
    negative: bool = False,
) -> SplitSource:
    """List the images of each class, class by class in the order of their names.

    Args:
        folders: C folders, at least one.
        names: C class names.
        properties: size of the images, and how a file becomes square.
        promise: what the makers promise.
        base: folder that contains them all, for messages.
        negative: exchange bright and dark.

    Raises:
        UserError: a folder without images, or a broken promise.
    """
    listed = [list_images(folder) for folder in folders]
    if [] in listed:
        raise UserError(f"{folders[listed.index([])]} has no images")
    paths = [path for images in listed for path in images]
    labels = np.repeat(np.arange(len(folders), dtype=np.int64), list(map(len, listed)))
    size, fit = properties.size, properties.fit
    promise.check((len(paths), size, size, 3), labels, names, str(base))
    encoded = EncodedImages(paths, size, fit, lambda position: str(paths[position]), base, negative)
    return decoded_source(encoded, labels, tuple(names))
