"""How a folder was understood, in a few lines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sla_bench.data.base import By
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder_layouts import CLASS_FOLDERS
from sla_bench.data.folder_listing import FolderListing
from sla_bench.data.folder_splits import (
    FRACTIONS,
    HELD_OUT,
    SMALLEST_DIVIDED,
    class_splits,
    seed_decides,
    split_listing,
    splits_file,
)
from sla_bench.errors import first_names, one_printable_line

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
    named = class_splits(listing)
    if named is not None:
        how = f"{splits_file(listing.path)} splits the classes"
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
        yield f"{splits_file(listing.path)} leaves out {first_names(unnamed)}, which are not used"


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
    file = splits_file(listing.path)
    if file is not None:
        with_class = class_splits(listing) or {}
        unnamed = [n for label, n in enumerate(listing.class_names) if label not in with_class]
        used = f"; {first_names(unnamed)}, which it leaves out, are used" if unnamed else ""
        yield f"{file} is not read here: it splits classes, for few-shot learning{used}"


def _seen(listing: FolderListing) -> str:
    count = len(listing.class_names)
    return (
        f"{count} {CLASS_FOLDERS}"
        if listing.seen == CLASS_FOLDERS
        else f"{listing.seen} with {count} classes"
    )
