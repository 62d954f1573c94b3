"""The images of a folder in each split, and its layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from sla_bench.data.base import By, Split
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder_layouts import CLASS_FOLDERS
from sla_bench.data.folder_listing import FolderListing
from sla_bench.data.folder_lists import SPLITS_FILE, head_of, normalized, split_named, table_rows
from sla_bench.data.splits import MIN_CLASSES, split_classes, split_images
from sla_bench.errors import UserError, first_names, nearest, one_printable_line

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
    index = np.flatnonzero((_by_classes if by == "classes" else _by_images)(listing, split, seed))
    return index, listing.labels[index]


def _columns(file: Path) -> tuple[str, str] | None:
    """The columns of classes and splits in `splits.csv`; None where it is missing or lists images."""
    if not file.exists():
        return None
    columns, picture, label, split = head_of(file)
    if picture is not None and split is not None:
        return None
    if label is None or split is None:
        raise UserError(
            f"{file} must begin with the columns class,split or file,split; found "
            f"{','.join(columns) or 'nothing'}"
        )
    return label, split


def _class_splits(listing: FolderListing) -> dict[int, Split] | None:
    """The split of each class that `splits.csv` names; None without such a file, or where it lists images.

    Raises:
        UserError: the file is of another form, or names a class that is not there, or one twice.
    """
    file, class_names = listing.path / SPLITS_FILE, listing.class_names
    columns = _columns(file)
    if columns is None:
        return None
    chosen: dict[str, Split] = {}
    for _, row in table_rows(file):
        name, text = normalized(row[columns[0]]), row[columns[1]].strip()
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


def seed_decides(listing: FolderListing) -> bool:
    """The seed chooses the classes of a split, not a readable `splits.csv` or parts with other classes."""
    with suppress(UserError):
        by_file = _columns(listing.path / SPLITS_FILE) is not None
        return not by_file and (listing.parts is None or _shared(listing))
    return True


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
    """The images whose class is of the split are true, bool (N,)."""
    chosen: Sequence[int] | np.ndarray
    if (named := _class_splits(listing)) is not None:
        chosen = [label for label, part in named.items() if part == split]
        if not chosen:
            raise UserError(f"{listing.path / SPLITS_FILE} gives no class to the split {split!r}")
    elif listing.parts is not None and not _shared(listing):
        chosen = _classes_of_part(listing, SPLITS.index(split))
    elif len(listing.class_names) < MIN_CLASSES:
        raise UserError(
            f"{listing.path} has {len(listing.class_names)} classes; few-shot learning needs at least "
            f"{MIN_CLASSES}, two for each of train, val and test"
        )
    else:
        chosen = split_classes(len(listing.class_names), seed)[split]
    return np.isin(listing.labels, chosen)


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
    """The images of the split are true, bool (N,)."""
    if len(listing.class_names) < 2:
        raise UserError(
            f"{listing.path} has only images of {listing.class_names[0]!r}; a classifier needs two at least"
        )
    parts = _parts_of_images(listing, seed)
    wanted = ("train", "val") if split == "trainval" else (split,)
    return np.isin(parts, [SPLITS.index(part) for part in wanted])


def _parts_of_images(listing: FolderListing, seed: int) -> np.ndarray:
    """Position in SPLITS of the part of each image, int64 (N,)."""
    if listing.parts is None:
        _check_sizes(listing)
        parts = np.full(len(listing.images), _TRAIN, dtype=np.int64)
        for part, chosen in enumerate(_divided(listing.labels, FRACTIONS, seed)):
            parts[chosen] = part
        return parts
    _check_parts(listing)
    parts = listing.parts.copy()
    train = np.flatnonzero(parts == _TRAIN)
    for part in (_VAL, _TEST):
        if part not in listing.parts:
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


_PURPOSE = {"train": "train", "val": "validation", "test": "test"}


def reading_lines(name: str, listing: FolderListing, by: By, seed: int = 0) -> list[str]:
    """The layout and which images serve for what, then a line for each kind of file that is left out.

    Args:
        name: of the data set.
        listing: of its folder.
        by: classes or images are split.
        seed: of the split.

    Raises:
        UserError: as `split_listing`.
    """
    lines = _class_lines(listing, seed) if by == "classes" else _image_lines(listing, seed)
    found = (*lines, *listing.unread, *listing.left_out.lines())
    return [one_printable_line(f"{name}: {line}") for line in found]


def _class_lines(listing: FolderListing, seed: int) -> Iterator[str]:
    found = {split: split_listing(listing, split, "classes", seed)[1] for split in SPLITS}
    classes = [len(np.unique(labels)) for labels in found.values()]
    images = [f"{len(labels):,}" for labels in found.values()]
    named, file = _class_splits(listing), listing.path / SPLITS_FILE
    if named is not None:
        how = f"{file} splits the classes"
    elif seed_decides(listing):
        why = "" if listing.parts is None else ", since the parts share them"
        how = f"--seed splits the classes{why} (seed {seed})"
    else:
        how = "the parts have classes of their own"
        parts = listing.classes_of_parts()
        if lacking := [split for part, split in enumerate(SPLITS) if part not in parts]:
            how = f"{how}, some classes of train are held out for {lacking[0]}, the same for every seed"
    counts = "/".join(map(str, classes))
    yield (f"{_seen(listing)}; {how}: {counts} classes with {'/'.join(images)} images for train/val/test")
    if named is not None and len(named) < len(listing.class_names):
        unnamed = [n for label, n in enumerate(listing.class_names) if label not in named]
        yield f"{file} leaves out {first_names(unnamed)}, which are not used"


def _image_lines(listing: FolderListing, seed: int) -> Iterator[str]:
    found = {split: split_listing(listing, split, "images", seed)[1] for split in SPLITS}
    present = listing.classes_of_parts() if listing.parts is not None else {}
    numbers = []
    for part, split in enumerate(SPLITS):
        count = f"{len(found[split]):,}"
        if listing.parts is None:
            numbers.append(f"{100 * FRACTIONS[part]:g} % {_PURPOSE[split]} ({count} images)")
        elif part in present:
            numbers.append(f"{count} images {_PURPOSE[split]}")
        else:
            share = f"{100 * HELD_OUT[split]:g} % of train held out for {_PURPOSE[split]}"
            numbers.append(f"{share} ({count} images, the same for every seed)")
    of_each = "" if listing.parts is not None else "; of each class"
    yield f"{_seen(listing)}{of_each}: {', '.join(numbers)}"
    untested = np.flatnonzero(np.bincount(found["test"], minlength=len(listing.class_names)) == 0)
    if len(untested):
        why = f"fewer than {SMALLEST_DIVIDED} images" if 2 not in present else "no image in the test part"
        names = first_names([listing.class_names[label] for label in untested])
        yield f"no test image of {names} ({why}): trained on, and left out of metrics over classes"
    if (named := _class_splits(listing)) is not None:
        unnamed = [n for label, n in enumerate(listing.class_names) if label not in named]
        used = f"; {first_names(unnamed)}, which it leaves out, are used" if unnamed else ""
        yield f"{listing.path / SPLITS_FILE} is not read here: it splits classes, for few-shot learning{used}"


def _seen(listing: FolderListing) -> str:
    count = len(listing.class_names)
    return (
        f"{count} {CLASS_FOLDERS}"
        if listing.seen == CLASS_FOLDERS
        else f"{listing.seen} with {count} classes"
    )
