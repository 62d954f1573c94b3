"""Lists of images with their classes; most are text files with one `relative/path.JPEG label` per line."""

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
        unit: what the numbers in `lines` count.
    """

    file: Path
    images: tuple[str, ...]
    labels: np.ndarray
    lines: tuple[int, ...]
    unit: str = "line"

    def place(self, position: int) -> str:
        """Where an image stands, for messages."""
        return f"{self.unit} {self.lines[position]} of {self.file}"


@dataclass(frozen=True)
class NamedImages:
    """A list that names the class of each image; what has no label there gets one from the sorted names.

    Args:
        file: the list, or the folder that was listed.
        images: as in `ImageList`.
        classes: name of the class of each image.
        lines: as in `ImageList`; empty where a folder was listed.
    """

    file: Path
    images: tuple[str, ...]
    classes: tuple[str, ...]
    lines: tuple[int, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, ascending."""
        return tuple(sorted(set(self.classes)))

    def numbered(self, class_names: tuple[str, ...]) -> ImageList:
        """The list with labels 0..C-1.

        Args:
            class_names: C names, those of the training images.

        Raises:
            UserError: an image of another class.
        """
        label_of = {name: label for label, name in enumerate(class_names)}
        labels = [label_of.get(name, -1) for name in self.classes]
        if -1 in labels:
            foreign = labels.index(-1)
            line = f"line {self.lines[foreign]} of {self.file}: " if self.lines else f"{self.file}: "
            raise UserError(
                f"{line}{self.images[foreign]} is of the class {self.classes[foreign]!r}, of which there "
                f"is no training image"
            )
        return ImageList(self.file, self.images, np.asarray(labels, dtype=np.int64), self.lines)


def read_lines(file: Path) -> list[tuple[int, str]]:
    """Number, from 1, and text of each line that is not empty.

    Raises:
        UserError: unreadable, or no text.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def read_image_list(file: Path) -> ImageList:
    """Read a list; empty lines are skipped.

    Raises:
        UserError: unreadable, a line of another form, a path that leaves the folder, or an image named twice.
    """
    seen: dict[str, int] = {}
    labels: list[int] = []
    for number, line in read_lines(file):
        image, label = _fields(line, number, file)
        if image in seen:
            raise UserError(f"line {number} of {file} names {image}, as line {seen[image]} does")
        seen[image] = number
        labels.append(label)
    if not labels:
        raise UserError(f"{file} names no images; each line must be a path and a label")
    return ImageList(file, tuple(seen), np.asarray(labels, dtype=np.int64), tuple(seen.values()))


def check_inside(image: str, place: str) -> None:
    """Refuse a path that leaves the folder of the images.

    Raises:
        UserError: it is absolute or climbs up; `place` says where it stands.
    """
    path = PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{place} must name an image inside the folder, found {image!r}")


def is_image(path: Path) -> bool:
    """A file is there; none has a name that the system does not know."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _fields(line: str, number: int, file: Path) -> tuple[str, int]:
    image, _, label = line.strip().rpartition(" ")
    image = image.strip()
    if not image or not (label.isascii() and label.isdecimal()) or len(label) > 9:
        raise UserError(f"line {number} of {file} must be a path and a label, found {line.strip()[:80]!r}")
    check_inside(image, f"line {number} of {file}")
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


def check_labels(images: ImageList, class_names: tuple[str, ...]) -> None:
    """Refuse a list that does not have every class of the training list, and no other.

    Raises:
        UserError: a label that is not of 0..C-1 (with its line), or a class without images.
    """
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
        UserError: with the first missing image, its line, and how many are missing.
    """
    absent = [position for position, image in enumerate(images.images) if not is_image(folder / image)]
    if absent:
        raise UserError(
            f"{folder / images.images[absent[0]]} is missing, though {images.place(absent[0])} names it "
            f"({len(absent):,} of {len(images.images):,} images are missing)"
        )
