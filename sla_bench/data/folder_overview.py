"""Lines of `datasets info` on a folder of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import get_args

import numpy as np
from rich.cells import cell_len

from sla_bench.data.base import By
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder import Folder
from sla_bench.data.folder_pictures import FolderPictures
from sla_bench.errors import UserError

_FITS = {
    "crop": "the central square of each",
    "pad": "the whole of each, with bars in the colour of the edge",
    "stretch": "the whole of each, stretched",
}


def picture_lines(folder: Folder, data_root: Path) -> Iterator[str]:
    """Yield number, sizes and repetition of the images, and what is unusual with them; they are decoded once.

    Args:
        folder: the data set.
        data_root: where decoded images are kept.

    Raises:
        UserError: the folder does not exist, or its layout is not clear.
    """
    listing, size = folder.listing, folder.properties.size
    yield (
        f"images:        {len(listing.images):,} in {len(listing.class_names):,} classes; "
        f"kept at {size} x {size} px, {_FITS[folder.properties.fit]}"
    )
    try:
        pictures = folder.pictures(data_root)
    except UserError as error:
        yield f"not readable:  {error}"
    else:
        yield from _of_pictures(pictures)


def class_table(folder: Folder, data_root: Path) -> Iterator[str]:
    """Yield a line for each class: its images, in all and of each part where these are fixed.

    Args:
        folder: the data set.
        data_root: as `picture_lines`.
    """
    totals, parts = dict[str, int](), dict[str, dict[str, int]]()
    for by in reversed(get_args(By)):
        with suppress(UserError):
            found: dict[str, dict[str, int]] = {
                split: folder.class_sizes(split, by, data_root) for split in SPLITS
            }
            for sizes in found.values():
                totals |= {name: totals.get(name, 0) + count for name, count in sizes.items()}
            parts = {} if by == "classes" and folder.split_depends_on_seed else found
            break
    yield from _table(totals, parts)


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


def _table(totals: Mapping[str, int], parts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """A line per class; those with the fewest images are marked."""
    if not totals:
        return
    columns = {**parts, "images": totals}
    names = {name: _plain(name) for name in sorted(totals)}
    width = max(cell_len(name) for name in ("class", *names.values()))
    widths = {head: max(len(head), len(f"{max(of.values()):,}")) for head, of in columns.items()}
    yield "  ".join(["class" + " " * (width - 5), *(f"{head:>{wide}}" for head, wide in widths.items())])
    fewest, most = min(totals.values()), max(totals.values())
    for name, shown in names.items():
        cells = (f"{columns[head].get(name, 0):>{wide},}" for head, wide in widths.items())
        smallest = "  <- smallest" if totals[name] == fewest < most else ""
        yield "  ".join([shown + " " * (width - cell_len(shown)), *cells]) + smallest


def _plain(text: str) -> str:
    """In one line, whatever names people give."""
    return " ".join(text.split())
