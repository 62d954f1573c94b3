"""What `datasets info` says of a folder of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from rich.cells import cell_len

from sla_bench.datasets.base import By
from sla_bench.datasets.class_lists import SPLITS
from sla_bench.datasets.folder import Folder
from sla_bench.datasets.folder_pictures import FolderPictures
from sla_bench.datasets.folder_splits import FolderListing, list_folder, split_listing
from sla_bench.datasets.image_files import what_is_no_image
from sla_bench.errors import UserError

_FITS = {
    "crop": "the central square of each",
    "pad": "the whole of each, with bars in the colour of the edge",
    "stretch": "the whole of each, stretched",
}
_SERVES: dict[By, str] = {"images": "imbalanced, standard", "classes": "fewshot"}


def folder_lines(folder: Folder, data_root: Path) -> Iterator[str]:
    """Images, their sizes, splits, remarks and a table of the classes, one a line; images are decoded once.

    Args:
        folder: the data set.
        data_root: where decoded images are kept.

    Raises:
        UserError: no such folder, or no classes in it.
    """
    listing, size = list_folder(folder.path), folder.properties.size
    yield (
        f"images:        {len(listing.images):,} in {len(listing.class_names):,} classes; "
        f"kept at {size} x {size} px, {_FITS[folder.properties.fit]}"
    )
    try:
        pictures = folder.pictures(data_root, listing)
    except UserError as error:
        yield f"not readable:  {error}"
    else:
        bad = sorted(set(listing.images) - set(pictures.listing.images))
        listing = pictures.listing
        yield from _of_pictures(pictures)
        if bad:
            yield f"left out:      {len(bad):,} images that can't be decoded, {_plain(bad[0])} for example"
    if aside := what_is_no_image(dict.fromkeys((folder.path / image).parent for image in listing.images)):
        yield f"left out:      things that are no images here: {aside}"
    tables = dict[By, list[np.ndarray]]()
    for by in reversed(get_args(By)):
        try:
            tables[by] = [_counts(listing, split_listing(listing, split, by, 0)[0]) for split in SPLITS]
        except UserError as error:
            yield f"not split:     for {_SERVES[by]}: {error}"
    if "classes" in tables:
        classes = "/".join(str(np.count_nonzero(counts)) for counts in tables["classes"])
        how = "chosen by the seed" if folder.split_depends_on_seed else "fixed"
        yield f"few-shot:      {classes} train/val/test classes, {how}"
    if "images" not in tables and folder.split_depends_on_seed:
        tables.pop("classes", None)
    yield from ("", *_table(listing, next(iter(tables.values()), None)))


def _of_pictures(pictures: FolderPictures) -> Iterator[str]:
    seen = pictures.facts.sizes[pictures.facts.sizes.min(1) > 0]
    if len(seen):
        sides = zip(("width", "height"), seen.min(0), np.median(seen, 0), seen.max(0), strict=True)
        said = (f"{side} {low} to {high}, median {middle:.0f}" for side, low, middle, high in sides)
        yield f"their sizes:   {'; '.join(said)}"
    repeats = pictures.repeats()
    if repeats.pictures:
        yield f"duplicates:    {repeats.images:,} images show {repeats.pictures:,} pictures more than once"
    for sentence in pictures.remarks():
        yield f"look at this:  {_plain(sentence)}"


def _counts(listing: FolderListing, index: np.ndarray) -> np.ndarray:
    return np.bincount(listing.labels[index], minlength=len(listing.class_names))


def _table(listing: FolderListing, parts: Sequence[np.ndarray] | None) -> Iterator[str]:
    """A line per class; those with the fewest images are marked."""
    totals = _counts(listing, np.arange(len(listing.images)))
    columns = (
        {"images": totals} if parts is None else {**dict(zip(SPLITS, parts, strict=True)), "images": totals}
    )
    names = [_plain(name) for name in listing.class_names]
    width = max(cell_len(name) for name in ("class", *names))
    widths = {head: max(len(head), len(f"{counts.max():,}")) for head, counts in columns.items()}
    yield "  ".join(["class" + " " * (width - 5), *(f"{head:>{wide}}" for head, wide in widths.items())])
    for position, name in enumerate(names):
        cells = (f"{columns[head][position]:>{wide},}" for head, wide in widths.items())
        smallest = "  <- smallest" if totals[position] == totals.min() < totals.max() else ""
        yield "  ".join([name + " " * (width - cell_len(name)), *cells]) + smallest


def _plain(text: str) -> str:
    """In one line, whatever names people give."""
    return " ".join(text.split())
