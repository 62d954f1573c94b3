"""Lists of images in text and CSV files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sla_bench.data.base import Fit
from sla_bench.data.sources import EncodedImages, SplitSource, decoded_source
from sla_bench.errors import UserError

_LONGEST_HEAD = 1 << 16
"""Characters."""
MOST_COLUMNS = 100
"""A row that lacks cells gets an empty one for each column of the head."""


def read_table(path: Path, skip_spaces: bool = False, delimiters: str = ",") -> Iterator[dict[str, str]]:
    """Rows of a table, the first of which is its head: column -> cell, empty where the row is too short.

    Args:
        path: UTF-8, with or without a byte order mark.
        skip_spaces: those after a comma do not count.
        delimiters: the character of these that is most frequent in the head separates cells.

    Yields:
        First a row of the head's own names, then the others.

    Raises:
        UserError: unreadable, no text, or more than MOST_COLUMNS columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline(_LONGEST_HEAD)
            file.seek(0)
            delimiter = max(delimiters, key=head.count)
            reader = csv.reader(file, skipinitialspace=skip_spaces, delimiter=delimiter)
            names = next(reader, [])
            if len(names) > MOST_COLUMNS:
                raise UserError(f"{path} has {len(names):,} columns; is it a list of images?")
            yield {name: name for name in names}
            for cells in reader:
                if cells:
                    yield {**dict.fromkeys(names, ""), **dict(zip(names, cells, strict=False))}
    except UnicodeDecodeError:
        raise UserError(f"cannot read {path}: it is not UTF-8; save it as UTF-8") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None


@dataclass(frozen=True)
class ImageList:
    """Images and their labels.

    Args:
        file: the list, or the folder that was listed.
        images: paths relative to the folder of the images, in the order of the list.
        labels: int64 (N,), not negative.
        lines: line of the file, from 1, on which each image stands; empty where a folder was listed.
        unit: what the numbers in `lines` count.

    Raises:
        UserError: no images; or the list names a path that leaves the folder, or an image twice.
    """

    file: Path
    images: tuple[str, ...]
    labels: np.ndarray
    lines: tuple[int, ...] = ()
    unit: str = "line"

    def __post_init__(self) -> None:
        if not self.images:
            raise UserError(f"{self.file} names no images")
        seen: dict[str, int] = {}
        for position, image in enumerate(self.images if self.lines else ()):
            check_inside(image, self.place(position))
            if image in seen:
                raise UserError(f"{self.place(position)} names {image}, as {self.unit} {seen[image]} does")
            seen[image] = self.lines[position]

    def place(self, position: int) -> str:
        """Where an image stands, for messages."""
        return f"{self.unit} {self.lines[position]} of {self.file}" if self.lines else str(self.file)


def check_inside(image: str, place: str) -> None:
    """Refuse a path that leaves the folder of the images.

    Raises:
        UserError: it is absolute or climbs up; `place` says where it stands.
    """
    path = PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{place} must name an image inside the folder, found {image!r}")


def named_list(
    file: Path, images: Sequence[str], classes: Sequence[str], names: Sequence[str], lines: Sequence[int] = ()
) -> ImageList:
    """The list of images whose classes have names.

    Args:
        file: as in `ImageList`.
        images: N paths.
        classes: name of the class of each image.
        names: C names, those of the training images; labels are their positions.
        lines: as in `ImageList`.

    Raises:
        UserError: an image of another class; or as `ImageList`.
    """
    label_of = {name: label for label, name in enumerate(names)}
    labels = np.array([label_of.get(name, -1) for name in classes], np.int64)
    found = ImageList(file, tuple(images), labels, tuple(lines))
    foreign = np.flatnonzero(labels < 0)
    if len(foreign):
        raise UserError(
            f"{found.place(foreign[0])}: {images[foreign[0]]} is of the class {classes[foreign[0]]!r}, of "
            "which there is no training image"
        )
    return found


def read_lines(file: Path) -> list[tuple[int, str]]:
    """Number, from 1, and text of each line that is not empty.

    Raises:
        UserError: unreadable, or not text.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def read_image_list(file: Path) -> ImageList:
    """Read lines `relative/path.JPEG label`; empty lines are skipped.

    Raises:
        UserError: unreadable, a line of another form; or as `ImageList`.
    """
    images, labels, numbers = [], [], []
    for number, line in read_lines(file):
        image, _, label = line.rpartition(" ")
        if not image or not (label.isascii() and label.isdecimal()) or len(label) > 9:
            raise UserError(f"line {number} of {file} must be a path and a label, found {line[:80]!r}")
        images.append(image.strip())
        labels.append(int(label))
        numbers.append(number)
    return ImageList(file, tuple(images), np.array(labels, np.int64), tuple(numbers))


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
    folders = (PurePosixPath(image).parent.name for image in train.images)
    pairs = set(zip(train.labels.tolist(), folders, strict=True))
    names = dict(pairs)
    if len(pairs) == len(names) == len(set(names.values())):
        return tuple(names[label] for label in range(len(names)))
    return tuple(f"class {label}" for label in range(len(found)))


def _check_labels(images: ImageList, class_names: tuple[str, ...]) -> None:
    """Refuse a list that does not have every class of the training list, and no other."""
    foreign = np.flatnonzero(images.labels >= len(class_names))
    if len(foreign):
        raise UserError(
            f"{images.place(foreign[0])} has the label {images.labels[foreign[0]]}; the training list has "
            f"0 to {len(class_names) - 1}"
        )
    empty = np.flatnonzero(np.bincount(images.labels, minlength=len(class_names)) == 0)
    if len(empty):
        raise UserError(
            f"{images.file} lacks {len(empty)} of the {len(class_names)} classes of the training images, "
            f"{class_names[empty[0]]!r} for example"
        )


def check_images(images: ImageList, folder: Path) -> None:
    """Refuse a list with images that are not in the folder.

    Raises:
        UserError: the first missing image, its line, and how many are missing.
    """
    # Unlike pathlib it takes any name.
    absent = [i for i, image in enumerate(images.images) if not os.path.isfile(folder / image)]  # noqa: PTH113
    if absent:
        raise UserError(
            f"{folder / images.images[absent[0]]} is missing, though {images.place(absent[0])} names it "
            f"({len(absent):,} of {len(images.images):,} images are missing)"
        )


def listed_source(
    chosen: ImageList, class_names: tuple[str, ...], folder: Path, base: Path, size: int, fit: Fit
) -> SplitSource:
    """The images of a list as a split.

    Args:
        chosen: its images and labels.
        class_names: of the training images.
        folder: to which the paths of the list are relative.
        base: folder of the data set.
        size: height = width in pixels.
        fit: how a file becomes square.

    Raises:
        UserError: the list has other classes than the training images, or names an image that is not there.
    """
    _check_labels(chosen, class_names)
    if chosen.lines:
        check_images(chosen, folder)
    paths = [folder / image for image in chosen.images]

    def name(position: int) -> str:
        return f"{paths[position]} ({chosen.place(position)})" if chosen.lines else str(paths[position])

    return decoded_source(EncodedImages(paths, size, fit, name, base), chosen.labels, class_names)
