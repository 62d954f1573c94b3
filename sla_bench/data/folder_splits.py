"""Which images of a folder belong to which split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sla_bench.data.base import By, Split
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder_listing import FolderListing
from sla_bench.data.folder_lists import (
    SPLITS_FILE,
    class_column,
    file_column,
    head_of,
    normalized,
    split_column,
    split_named,
    table_rows,
)
from sla_bench.data.stratified import MIN_CLASSES, split_classes, split_images
from sla_bench.errors import UserError, nearest

FRACTIONS = (0.7, 0.1, 0.2)
HELD_OUT = {"val": 0.1, "test": 0.2}
"""Part of the training images of each class that stands in for a part that is missing."""
HELD_OUT_CLASSES = 0.2
"""Part of the training classes that stands in for a part of classes that is missing."""
SMALLEST_DIVIDED = len(SPLITS)
"""Images of the smallest class that is divided; smaller classes are trained on."""
_HELD_OUT_SEED = 0
_TRAIN, _VAL, _TEST = range(len(SPLITS))


def split_listing(listing: FolderListing, split: Split, by: By, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose the images of a split.

    Returns:
        Indices into `listing.images`, ascending, and the class (label of the listing) of each; int64 (n,). By
        images a class may have none in val and test.

    Raises:
        UserError: the folder cannot be split like this, or `splits.csv` is wrong.
    """
    choose = _by_classes if by == "classes" else _by_images
    index = choose(listing, split, seed)
    return index, listing.labels[index]


def class_splits(listing: FolderListing) -> dict[int, Split] | None:
    """The split of each class that `splits.csv` names; None without such a file, or where it lists images.

    Raises:
        UserError: the file is of another form, or names a class that is not there, or one twice.
    """
    file = splits_file(listing.path)
    return None if file is None else _read_splits(file, listing)


def splits_file(path: Path) -> Path | None:
    """The file of a folder that splits its classes; None where it is missing or lists images.

    Raises:
        UserError: the file has other columns.
    """
    file = path / SPLITS_FILE
    if not file.exists():
        return None
    head = head_of(file)
    if file_column(head) is not None and split_column(head) is not None:
        return None
    if class_column(head) is None or split_column(head) is None:
        raise UserError(
            f"{file} must begin with the columns class,split or file,split; found "
            f"{','.join(head) or 'nothing'}"
        )
    return file


def seed_decides(listing: FolderListing) -> bool:
    """The seed chooses the classes of a split, not `splits.csv` or parts with classes of their own."""
    if splits_file(listing.path) is not None:
        return False
    return listing.parts is None or _shared(listing)


def _shared(listing: FolderListing) -> bool:
    """The parts have the same classes, or those of val and test are among those of train.

    Raises:
        UserError: some classes are in several parts, but not all of val and test in train.
    """
    members = listing.classes_of_parts()
    train, others = members.get(_TRAIN, set()), [m for part, m in members.items() if part != _TRAIN]
    sets = list(members.values())
    common = set().union(*(a & b for place, a in enumerate(sets) for b in sets[place + 1 :]))
    if common and not all(other <= train for other in others):
        example = listing.class_names[min(common)]
        raise UserError(
            f"{listing.path}: train, val and test must have disjoint classes or the same; {example!r} is "
            f"in several, others are not"
        )
    return bool(common)


def _by_classes(listing: FolderListing, split: Split, seed: int) -> np.ndarray:
    if (named := class_splits(listing)) is not None:
        chosen = [label for label, part in named.items() if part == split]
        if not chosen:
            raise UserError(f"{listing.path / SPLITS_FILE} gives no class to the split {split!r}")
        return np.flatnonzero(np.isin(listing.labels, chosen))
    if listing.parts is not None and not _shared(listing):
        return np.flatnonzero(np.isin(listing.labels, _classes_of_part(listing, SPLITS.index(split))))
    if len(listing.class_names) < MIN_CLASSES:
        raise UserError(
            f"{listing.path} has {len(listing.class_names)} classes; few-shot learning needs at least "
            f"{MIN_CLASSES}, two for each of train, val and test"
        )
    chosen_labels = split_classes(len(listing.class_names), seed)[split]
    return np.flatnonzero(np.isin(listing.labels, chosen_labels))


def _classes_of_part(listing: FolderListing, part: int) -> list[int]:
    """Labels of a part whose classes are its own; where val or test is missing, classes of train."""
    members = listing.classes_of_parts()
    train = sorted(members[_TRAIN])
    lacking = [other for other in (_VAL, _TEST) if other not in members]
    if part in members and (part != _TRAIN or not lacking):
        return sorted(members[part])
    wanted = max(round(HELD_OUT_CLASSES * len(train)), min(5, len(train) // 3), 2)
    if len(train) < wanted + 2:
        raise UserError(
            f"{listing.path} has no part {SPLITS[lacking[0]]}, and the {len(train)} classes of train are too "
            f"few to hold {wanted} out; add the part {SPLITS[lacking[0]]}"
        )
    order = np.random.default_rng(_HELD_OUT_SEED).permutation(train).tolist()
    return sorted(order[wanted:] if part == _TRAIN else order[:wanted])


def _by_images(listing: FolderListing, split: Split, seed: int) -> np.ndarray:
    if len(listing.class_names) < 2:
        raise UserError(
            f"{listing.path} has only images of {listing.class_names[0]!r}; a classifier needs two at least"
        )
    parts = _parts_of_images(listing, seed)
    wanted = ("train", "val") if split == "trainval" else (split,)
    return np.flatnonzero(np.isin(parts, [SPLITS.index(part) for part in wanted]))


def _parts_of_images(listing: FolderListing, seed: int) -> np.ndarray:
    """Position in SPLITS of the part of each image, int64 (N,)."""
    everything = np.arange(len(listing.images))
    parts = np.full(len(everything), _TRAIN, dtype=np.int64)
    if listing.parts is None:
        _check_sizes(listing)
        for part, chosen in enumerate(_divided(listing.labels, FRACTIONS, seed)):
            parts[chosen] = part
        return parts
    _check_parts(listing)
    parts = listing.parts.copy()
    train = np.flatnonzero(parts == _TRAIN)
    present = set(np.unique(parts).tolist())
    for part in (_VAL, _TEST):
        if part not in present:
            share = HELD_OUT[SPLITS[part]]
            chosen = _divided(listing.labels[train], (1 - share, share), _HELD_OUT_SEED)[1]
            parts[train[chosen]] = part
    return parts


def _divided(labels: np.ndarray, fractions: tuple[float, ...], seed: int) -> list[np.ndarray]:
    return split_images(labels, fractions, seed, smallest=SMALLEST_DIVIDED)


def _check_sizes(listing: FolderListing) -> None:
    counts = np.bincount(listing.labels, minlength=len(listing.class_names))
    if counts.max() < SMALLEST_DIVIDED:
        name = listing.class_names[int(counts.argmax())]
        raise UserError(
            f"{listing.path}: no class has {SMALLEST_DIVIDED} images, one for each of train, val and test; "
            f"the largest, {name!r}, has {counts.max()}"
        )


def _check_parts(listing: FolderListing) -> None:
    """Refuse parts whose images cannot serve a classifier of the training classes."""
    assert listing.parts is not None
    members = listing.classes_of_parts()
    train = members[_TRAIN]
    for part in (_VAL, _TEST):
        foreign = members.get(part, set()) - train
        if foreign and not members[part] & train:
            raise UserError(
                f"{listing.path}: {listing.class_names[min(train)]!r} must be in train and in "
                f"{SPLITS[part]}; disjoint classes serve few-shot learning only"
            )
        if foreign:
            name = listing.class_names[min(foreign)]
            hint = nearest(name, [listing.class_names[label] for label in sorted(train)])
            raise UserError(
                f"{listing.path}: {name!r} is in {SPLITS[part]} and not in train; add training images, "
                f"or take it away{f' ({hint})' if hint.startswith('did') else ''}"
            )


def _read_splits(file: Path, listing: FolderListing) -> dict[int, Split]:
    head, class_names = head_of(file), listing.class_names
    class_of, split_of = class_column(head), split_column(head)
    assert class_of is not None
    assert split_of is not None
    chosen: dict[str, Split] = {}
    for _, row in table_rows(file):
        name, text = normalized(row[class_of]), row[split_of].strip()
        if name in listing.small:
            continue
        if name not in class_names:
            raise UserError(
                f"{file} names the class {name!r}, which has no folder; {nearest(name, class_names)}"
            )
        split = split_named(text, f"{file}: {name!r}")
        if chosen.setdefault(name, split) != split:
            raise UserError(
                f"{file} gives {name!r} to {chosen[name]} and to {split}; splits must be disjoint"
            )
    return {class_names.index(name): split for name, split in chosen.items()}
