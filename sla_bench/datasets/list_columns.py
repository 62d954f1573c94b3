"""One reader for the lists that data sets come with: columns of text and MATLAB files, put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from sla_bench.datasets.base import Split
from sla_bench.datasets.image_lists import ImageList, NamedImages, check_inside, read_lines
from sla_bench.datasets.matlab_files import load_mat
from sla_bench.errors import UserError


@dataclass(frozen=True)
class Entries:
    """What a column says.

    Args:
        file: where it lies.
        values: texts.
        numbers: line or entry of the file, from 1, of each value.
        ids: what other columns refer to each value by; None: by its position.
        unit: what `numbers` counts.
    """

    file: Path
    values: tuple[str, ...]
    numbers: tuple[int, ...]
    ids: tuple[str, ...] | None = None
    unit: str = "line"

    def place(self, position: int) -> str:
        """Where a value stands, for messages."""
        return f"{self.unit} {self.numbers[position]} of {self.file}"

    def of(self, others: Entries) -> tuple[list[str], list[str]]:
        """Value and place for each of `others`, by the same id or position.

        Raises:
            UserError: there is none for some of them, or more of them than of `others`.
        """
        own = self.ids if self.ids is not None else tuple(map(str, range(len(self.values))))
        wanted = others.ids if others.ids is not None else tuple(map(str, range(len(others.values))))
        position_of = {key: position for position, key in enumerate(own)}
        for position, key in enumerate(wanted):
            if key not in position_of:
                raise UserError(
                    f"{self.file} says nothing of {others.values[position]} ({others.place(position)})"
                )
        if len(own) > len(wanted):
            known = frozenset(wanted)
            extra = next(position for position, key in enumerate(own) if key not in known)
            raise UserError(f"{self.place(extra)} belongs to no image of {others.file}")
        chosen = [position_of[key] for key in wanted]
        return [self.values[position] for position in chosen], [self.place(position) for position in chosen]


class Column(Protocol):
    """Where some values lie."""

    @property
    def file(self) -> str:
        """Path below the folder of the data set."""

    def read(self, base: Path) -> Entries:
        """Read them from the data set in `base`.

        Raises:
            UserError: the file is damaged, or of another form.
        """


@dataclass(frozen=True)
class TextColumn:
    """One value a line.

    Args:
        file: path below the folder of the data set.
        has_ids: an id and a space come before the value.
    """

    file: str
    has_ids: bool = False

    def read(self, base: Path) -> Entries:
        """See `Column.read`."""
        path = base / self.file
        lines = read_lines(path)
        if not lines:
            raise UserError(f"{path} is empty")
        numbers = tuple(number for number, _ in lines)
        if not self.has_ids:
            return Entries(path, tuple(line for _, line in lines), numbers)
        seen: dict[str, int] = {}
        values = []
        for number, line in lines:
            key, _, value = line.partition(" ")
            if not value.strip():
                raise UserError(f"line {number} of {path} must be an id and a value, found {line[:80]!r}")
            if key in seen:
                raise UserError(f"line {number} of {path} has the id {key}, as line {seen[key]} has")
            seen[key] = number
            values.append(value.strip())
        return Entries(path, tuple(values), numbers, tuple(seen))


@dataclass(frozen=True)
class MatColumn:
    """A vector or cell array of a MATLAB file (up to version 7).

    Args:
        file: path below the folder of the data set.
        variable: its name in the file.
    """

    file: str
    variable: str

    def read(self, base: Path) -> Entries:
        """See `Column.read`."""
        path = base / self.file
        variables = load_mat(path)
        if self.variable not in variables:
            found = ", ".join(variables) or "nothing"
            raise UserError(f"{path} has no {self.variable!r}; found {found}")
        raw = np.atleast_1d(variables[self.variable]).ravel()
        if not len(raw):
            raise UserError(f"{path}: {self.variable!r} is empty")
        values = tuple(map(_text, raw.tolist()))
        numbers = tuple(range(1, len(values) + 1))
        return Entries(path, values, numbers, unit=f"entry {self.variable}")


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@dataclass(frozen=True)
class Recipe:
    """How the lists of a data set are put together.

    Args:
        images: of each split, the column with the paths of its images.
        folder: folder of the data set to which the paths are relative.
        labels: of each split, the column with labels, from 1; empty: the folder of an image is its class, and
            labels follow the sorted names of the training images.
        member: the column that says to which split an image belongs.
        members: its value for each split.
    """

    images: Mapping[Split, Column]
    folder: str
    labels: Mapping[Split, Column] = field(default_factory=dict)
    member: Column | None = None
    members: Mapping[Split, str] = field(default_factory=dict)

    def files(self, base: Path, split: Split) -> list[Path]:
        """The lists of a split, the list that decides the classes, and the folder of the images."""
        columns = [self.images[split], self.images["train"], self.member]
        columns += [self.labels[part] for part in (split, "train") if part in self.labels]
        return [
            *dict.fromkeys(base / column.file for column in columns if column is not None),
            base / self.folder,
        ]

    def read(self, base: Path, split: Split) -> ImageList:
        """Read the list of a split.

        Raises:
            UserError: a file is damaged or of another form, or two of them do not fit together.
        """
        paths = self.images[split].read(base)
        _check_paths(paths)
        chosen = self._members(paths, base, split)
        if not chosen:
            raise UserError(f"{paths.file} and {self.member} give no image to {split}")
        labels = self._labels(paths, base, split)
        return ImageList(
            paths.file,
            tuple(paths.values[position] for position in chosen),
            labels[chosen],
            tuple(paths.numbers[position] for position in chosen),
            paths.unit,
        )

    def _members(self, paths: Entries, base: Path, split: Split) -> list[int]:
        if self.member is None:
            return list(range(len(paths.values)))
        values, places = self.member.read(base).of(paths)
        for value, place in zip(values, places, strict=True):
            if value not in self.members.values():
                raise UserError(f"{place} must be one of {', '.join(self.members.values())}, found {value!r}")
        return [position for position, value in enumerate(values) if value == self.members[split]]

    def _labels(self, paths: Entries, base: Path, split: Split) -> np.ndarray:
        if self.labels:
            values, places = self.labels[split].read(base).of(paths)
            for value, place in zip(values, places, strict=True):
                if not (value.isascii() and value.isdecimal() and 0 < int(value) < 10**9):
                    raise UserError(f"{place} must be a label from 1 on, found {value!r}")
            return np.asarray([int(value) - 1 for value in values], dtype=np.int64)
        training = paths if split == "train" else self.images["train"].read(base)
        classes = tuple(map(_folder, paths.values))
        named = NamedImages(paths.file, paths.values, classes, paths.numbers)
        return named.numbered(tuple(sorted(set(map(_folder, training.values))))).labels


def _folder(image: str) -> str:
    return PurePosixPath(image).parent.name


def _check_paths(paths: Entries) -> None:
    seen: dict[str, int] = {}
    for position, image in enumerate(paths.values):
        check_inside(image, paths.place(position))
        if not _folder(image):
            raise UserError(
                f"{paths.place(position)} must be the path of an image in a folder, found {image!r}"
            )
        if image in seen:
            raise UserError(f"{paths.place(position)} names {image}, as {paths.place(seen[image])} does")
        seen[image] = position
