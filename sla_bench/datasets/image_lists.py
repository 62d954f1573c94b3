"""Published lists of images: text files with one `relative/path.JPEG label` per line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sla_bench.errors import UserError


@dataclass(frozen=True)
class ImageList:
    """What a list says.

    Args:
        file: the list.
        images: paths relative to the folder of the images, in the order of the list.
        labels: int64 (N,), not negative.
        lines: line of the file, from 1, on which each image stands.
    """

    file: Path
    images: tuple[str, ...]
    labels: np.ndarray
    lines: tuple[int, ...]

    def place(self, position: int) -> str:
        """Where an image stands, for messages."""
        return f"line {self.lines[position]} of {self.file}"


def read_image_list(file: Path) -> ImageList:
    """Read a list; empty lines are skipped.

    Raises:
        UserError: unreadable, a line of another form, a path that leaves the folder, or an image named twice.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    seen: dict[str, int] = {}
    labels: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        image, label = _fields(line, number, file)
        if image in seen:
            raise UserError(f"line {number} of {file} names {image}, as line {seen[image]} does")
        seen[image] = number
        labels.append(label)
    if not labels:
        raise UserError(f"{file} names no images; each line must be a path and a label")
    return ImageList(file, tuple(seen), np.asarray(labels, dtype=np.int64), tuple(seen.values()))


def _fields(line: str, number: int, file: Path) -> tuple[str, int]:
    image, _, label = line.strip().rpartition(" ")
    image = image.strip()
    if not image or not (label.isascii() and label.isdecimal()) or len(label) > 9:
        raise UserError(f"line {number} of {file} must be a path and a label, found {line.strip()[:80]!r}")
    path = PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"line {number} of {file} must name an image inside the folder, found {image!r}")
    return image, int(label)


def class_names_of(train: ImageList) -> tuple[str, ...]:
    """Names of the classes 0..C-1 of a training list: the folders of their images.

    Where a class has images in several folders, or a folder images of several classes, all are "class 0" and
    so on.

    Raises:
        UserError: the labels are not 0..C-1.
    """
    found = np.unique(train.labels)
    if not np.array_equal(found, np.arange(len(found))):
        lacking = int(np.flatnonzero(found != np.arange(len(found)))[0])
        raise UserError(
            f"{train.file}: labels must be 0 to C-1, each at least once; {lacking} is not there, "
            f"{found[-1]} is"
        )
    pairs = {
        (label, PurePosixPath(image).parent.name)
        for image, label in zip(train.images, train.labels.tolist(), strict=True)
    }
    names = dict(pairs)
    if len(pairs) == len(names) == len(set(names.values())):
        return tuple(names[label] for label in range(len(names)))
    return tuple(f"class {label}" for label in range(len(found)))


def check_labels(images: ImageList, num_classes: int) -> None:
    """Refuse a list that does not have every class of the training list, and no other.

    Raises:
        UserError: a label that is not of 0..num_classes-1 (with its line), or a class without images.
    """
    foreign = np.flatnonzero(images.labels >= num_classes)
    if len(foreign):
        raise UserError(
            f"{images.place(foreign[0])} has the label {images.labels[foreign[0]]}; the training list has "
            f"0 to {num_classes - 1}"
        )
    empty = np.flatnonzero(np.bincount(images.labels, minlength=num_classes) == 0)
    if len(empty):
        raise UserError(
            f"{images.file} lacks {len(empty)} of the {num_classes} classes of the training list, "
            f"{empty[0]} for example"
        )


def check_images(images: ImageList, folder: Path) -> None:
    """Refuse a list with images that are not in the folder.

    Raises:
        UserError: with the first missing image, its line, and how many are missing.
    """
    absent = [position for position, image in enumerate(images.images) if not (folder / image).is_file()]
    if absent:
        raise UserError(
            f"{folder / images.images[absent[0]]} is missing, though {images.place(absent[0])} names it "
            f"({len(absent):,} of {len(images.images):,} images are missing)"
        )
