"""What lies in a folder of images, and which of them belong to which split."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sla_bench.datasets.base import By, Split
from sla_bench.datasets.checksums import fingerprint
from sla_bench.datasets.class_lists import SPLITS
from sla_bench.datasets.csv_tables import read_table
from sla_bench.datasets.image_files import EXTENSIONS, list_folders, list_images
from sla_bench.datasets.stratified import MIN_CLASSES, split_classes, split_images
from sla_bench.errors import UserError, nearest

_FRACTIONS = (0.7, 0.1, 0.2)
SPLITS_FILE = "splits.csv"


@dataclass(frozen=True)
class FolderListing:
    """All images below a folder.

    Args:
        path: the folder.
        images: paths relative to it, by split folder, class and name.
        labels: class of each image, int64 (N,), 0..C-1.
        class_names: C names, ascending.
        parts: for each image the position of its split folder in ("train", "val", "test"), int64 (N,); None
            without split folders.
        fingerprint: of names, sizes and times of change.
    """

    path: Path
    images: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    parts: np.ndarray | None
    fingerprint: str

    def without(self, images: Collection[str]) -> FolderListing:
        """The listing without some images; all classes stay, and so does the fingerprint."""
        absent = frozenset(images)
        kept = np.array([image not in absent for image in self.images])
        return replace(
            self,
            images=tuple(image for image in self.images if image not in absent),
            labels=self.labels[kept],
            parts=None if self.parts is None else self.parts[kept],
        )


def parts_share_classes(path: Path) -> bool:
    """Folders train and test of a divided folder have classes in common: the seed splits these."""
    train, test = ({folder.name for folder in list_folders(path / part)} for part in ("train", "test"))
    return bool(train & test)


def is_divided(path: Path) -> bool:
    """The folder contains train, val and test, and these are no classes: no images lie in them directly."""
    parts = [path / split for split in SPLITS]
    return all(part.is_dir() for part in parts) and not any(list_images(part) for part in parts)


def list_folder(path: Path) -> FolderListing:
    """List classes and images.

    Raises:
        UserError: no such folder, no classes, or a class without images.
    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise UserError(f"the folder {path} {what}; folder:PATH needs PATH/CLASS/image.jpg")
    top, divided = list_folders(path), is_divided(path)
    class_folders = [f for split in SPLITS for f in list_folders(path / split)] if divided else top
    if divided:
        for split in SPLITS:
            if not list_folders(path / split):
                raise UserError(f"{path / split} has no classes; each of train, val and test needs some")
    if not class_folders:
        loose = f"; {len(list_images(path))} images lie in it directly" if list_images(path) else ""
        raise UserError(
            f"{path} has no classes{loose}; put the images of each class into a folder of its own"
        )
    listed = [list_images(folder) for folder in class_folders]
    for folder, images in zip(class_folders, listed, strict=True):
        if not images:
            raise UserError(
                f"the class {folder.name!r} is empty: no images directly in {folder} "
                f"(known are {', '.join(sorted(EXTENSIONS))})"
            )
    names = sorted({folder.name for folder in class_folders})
    _check_names(names, path)
    counts = [len(images) for images in listed]
    paths = [image for images in listed for image in images]
    labels = np.repeat([names.index(folder.name) for folder in class_folders], counts).astype(np.int64)
    parts = None
    if divided:
        parts = np.repeat([SPLITS.index(folder.parent.name) for folder in class_folders], counts)
    try:
        mark = fingerprint(paths, path)
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None
    relative = tuple(image.relative_to(path).as_posix() for image in paths)
    return FolderListing(path, relative, labels, tuple(names), parts, mark)


def _check_names(names: list[str], path: Path) -> None:
    """Names of classes reach tables and records, which are UTF-8."""
    for name in names:
        if os.fsencode(name) != name.encode(errors="replace"):
            raise UserError(f"{path}: the name of the class {name!r} is not UTF-8; give the folder another")


def split_listing(listing: FolderListing, split: Split, by: By, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose the images of a split.

    Returns:
        Indices into `listing.images`, ascending, and the class (label of the listing) of each; int64 (n,).

    Raises:
        UserError: the folder cannot be split like this, or `splits.csv` is wrong.
    """
    choose = _by_classes if by == "classes" else _by_images
    index = choose(listing, split, seed)
    return index, listing.labels[index]


def _by_classes(listing: FolderListing, split: Split, seed: int) -> np.ndarray:
    file = listing.path / SPLITS_FILE
    if file.exists():
        chosen = [label for label, name in _read_splits(file, listing.class_names) if name == split]
        if not chosen:
            raise UserError(f"{file} gives no class to the split {split!r}")
        return np.flatnonzero(np.isin(listing.labels, chosen))
    if listing.parts is not None:
        members = _classes_of_parts(listing)
        shared = (members[0] & members[1]) | (members[0] & members[2]) | (members[1] & members[2])
        if not shared:
            return np.flatnonzero(listing.parts == SPLITS.index(split))
        if not members[0] == members[1] == members[2]:
            example = listing.class_names[min(shared)]
            raise UserError(
                f"{listing.path}: train, val and test must have disjoint classes or the same; {example!r} is "
                f"in several, others are not"
            )
    if len(listing.class_names) < MIN_CLASSES:
        raise UserError(
            f"{listing.path} has {len(listing.class_names)} classes; few-shot learning needs at least "
            f"{MIN_CLASSES}, two for each of train, val and test"
        )
    chosen_labels = split_classes(len(listing.class_names), seed)[split]
    return np.flatnonzero(np.isin(listing.labels, chosen_labels))


def _by_images(listing: FolderListing, split: Split, seed: int) -> np.ndarray:
    if len(listing.class_names) < 2:
        raise UserError(
            f"{listing.path} has only images of {listing.class_names[0]!r}; a classifier needs two at least"
        )
    if listing.parts is not None:
        members = _classes_of_parts(listing)
        for position, other in enumerate(SPLITS):
            lacking = members[0] ^ members[position]
            if lacking:
                raise UserError(
                    f"{listing.path}: {listing.class_names[min(lacking)]!r} must be in train and in {other}; "
                    f"disjoint classes serve few-shot learning only"
                )
        return np.flatnonzero(np.isin(listing.parts, [SPLITS.index(part) for part in _parts_of(split)]))
    counts = np.bincount(listing.labels)
    if counts.min() < len(SPLITS):
        name = listing.class_names[int(counts.argmin())]
        raise UserError(
            f"{listing.path / name} has {counts.min()} images; each class needs at least three, one for each "
            f"of train, val and test"
        )
    chosen = split_images(listing.labels, _FRACTIONS, seed)
    return np.sort(np.concatenate([chosen[SPLITS.index(part)] for part in _parts_of(split)]))


def _parts_of(split: Split) -> tuple[Split, ...]:
    return ("train", "val") if split == "trainval" else (split,)


def _classes_of_parts(listing: FolderListing) -> list[set[int]]:
    assert listing.parts is not None
    return [set(np.unique(listing.labels[listing.parts == part]).tolist()) for part in range(len(SPLITS))]


def _read_splits(file: Path, class_names: tuple[str, ...]) -> list[tuple[int, str]]:
    table = read_table(file, skip_spaces=True)
    head = next(table)
    if not {"class", "split"} <= set(head):
        raise UserError(
            f"{file} must begin with the columns class,split; found {','.join(head) or 'nothing'}"
        )
    rows = [(row["class"].strip(), row["split"].strip()) for row in table]
    chosen: dict[str, str] = {}
    for name, split in rows:
        if name not in class_names:
            raise UserError(
                f"{file} names the class {name!r}, which has no folder; {nearest(name, class_names)}"
            )
        if split not in SPLITS:
            raise UserError(f"{file} gives {name!r} the split {split!r}; {nearest(split, SPLITS)}")
        if chosen.setdefault(name, split) != split:
            raise UserError(
                f"{file} gives {name!r} to {chosen[name]} and to {split}; splits must be disjoint"
            )
    return [(class_names.index(name), split) for name, split in chosen.items()]
