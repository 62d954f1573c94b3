"""Tables and lines of `datasets list`, `info` and `verify`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image
from rich.cells import cell_len
from rich.table import Table

from sla_bench.data.base import By, Dataset
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder import Folder
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.registry import DATASETS

_FITS = {
    "crop": "the central square of each",
    "pad": "the whole of each, with bars in the colour of the edge",
    "stretch": "the whole of each, stretched",
}


def _picture_lines(folder: Folder, data_root: Path) -> Iterator[str]:
    """Number, sizes and repetition of the images, and what is unusual with them; they are decoded once."""
    listing, size = folder.listing, folder.properties.size
    yield (
        f"images:        {len(listing.images):,} in {len(listing.class_names):,} classes; "
        f"kept at {size} x {size} px, {_FITS[folder.properties.fit]}"
    )
    try:
        pictures = folder.pictures(data_root)
    except UserError as error:
        yield f"not readable:  {error}"
        return
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


def _class_table(folder: Folder, data_root: Path) -> Iterator[str]:
    """A line per class: its images in all, and in each part where parts are fixed."""
    for by in reversed(get_args(By)):
        with suppress(UserError):
            found: dict[str, dict[str, int]] = {s: folder.class_sizes(s, by, data_root) for s in SPLITS}
            seeded = by == "classes" and folder.split_depends_on_seed
            columns: dict[str, Mapping[str, int]] = {} if seeded else {**found}
            break
    else:
        return
    totals = Counter[str]()
    for sizes in found.values():
        totals.update(sizes)
    columns["images"] = totals
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


def overview(data_root: Path) -> Table:
    """One row per data set: name, what it is, classes per split, whether its files are there."""
    table = Table("data set", "what", "train/val/test classes", f"files below {data_root}")
    for name in DATASETS.names():
        summary = DATASETS[name].summary
        if (argument := DATASETS.arguments.get(name.partition(":")[0])) and not argument.known:
            table.add_row(name, summary, "", "")
            continue
        dataset = dataset_named(name)
        counts = dataset.class_counts(data_root)
        per_class = "/".join(_range(counts[split]) for split in SPLITS if split in counts)
        state = _state(dataset, data_root) + (f", {per_class} images a class" if per_class else "")
        table.add_row(name, summary, _classes(dataset), state)
    return table


def describe(name: str, data_root: Path) -> str:
    """The data set's facts, one a line; the images of a folder are decoded for it once.

    Raises:
        UserError: unknown name, or a folder without classes.
    """
    dataset = dataset_named(name).pinned()
    properties = dataset.properties
    steps = ["random part of 8 to 100 %, aspect 3/4 to 4/3"] if properties.resized_crop else []
    steps += [f"crop with {properties.crop_padding} px of padding"] if properties.crop_padding else []
    steps += [f"colour jitter {properties.jitter}"] if properties.jitter else []
    steps += ["horizontal flip"] if properties.flip else []
    augmentation = f"augmentation:  {', '.join(steps) or 'none'}"
    if isinstance(dataset, Folder):
        lines = [dataset.name, augmentation, *_picture_lines(dataset, data_root)]
        return "\n".join([*lines, *understood(dataset, data_root), "", *_class_table(dataset, data_root)])
    counts = dataset.class_counts(data_root)
    prepared = [f"{split} {_how_many(counts[split])}" for split in SPLITS if split in counts]
    lines = [
        f"{name}: {DATASETS[name].summary}",
        f"images:        {properties.size} x {properties.size} px{', grey' if properties.grey else ''}",
        f"classes:       {_classes(dataset) or 'known once the files are read'} (train/val/test)",
        *([f"prepared:      {'; '.join(prepared)}"] if prepared else []),
        augmentation,
        f"how to get it: {dataset.origin}",
        f"files:         {_state(dataset, data_root)}",
        *(f"  {path}" for path in dataset.files(data_root)),
    ]
    return "\n".join([*lines, *understood(dataset, data_root)])


def understood(dataset: Dataset, data_root: Path) -> list[str]:
    """How the files are understood, by images and by classes, as far as they can be split so."""
    found: dict[str, None] = {}
    refused: list[tuple[By, UserError]] = []
    for by in dataset.splits_by[::-1]:
        try:
            found |= dict.fromkeys(dataset.reading_lines(by, data_root))
        except UserError as error:
            refused.append((by, error))
    if len(refused) == len(dataset.splits_by):
        raise refused[0][1]
    return [*found, *(f"{dataset.name}: no split by {by}: {error}" for by, error in refused)]


def sheet_of(name: str, data_root: Path) -> Image.Image:
    """Draw a contact sheet of the training images.

    Raises:
        UserError: files are missing.
    """
    from sla_bench.data.contact_sheet import contact_sheet

    dataset = dataset_named(name)
    return contact_sheet(dataset.load("train", _readable_by(dataset, data_root), data_root))


def verify(name: str, data_root: Path) -> list[str]:
    """Read every split and compare files with their known checksums; one line per finding.

    Raises:
        UserError: a file is missing, damaged, or not what it should be.
    """
    dataset = dataset_named(name)
    lines = [f"{state:8} {path}" for path, state in dataset.verify(data_root)]
    bad = [line for line in lines if line.startswith("bad")]
    if bad:
        raise UserError(f"{name}: {len(bad)} damaged or altered: {'; '.join(line[9:] for line in bad)}")
    by = _readable_by(dataset, data_root)
    for split in dataset.classes or SPLITS:
        images = dataset.load(split, by, data_root)
        lines.append(f"ok       {split}: {_how_many(images.class_counts)}, checksum {images.checksum}")
    return lines


def _how_many(counts: np.ndarray) -> str:
    """Images and classes, from the images of each class (C,)."""
    return f"{counts.sum():,} images, {len(counts)} classes of {_range(counts)}"


def _range(counts: np.ndarray) -> str:
    """The number of images of a class, or the least and the most."""
    few, many = int(counts.min()), int(counts.max())
    return f"{few}" if few == many else f"{few}-{many}"


def _classes(dataset: Dataset) -> str:
    return "/".join(str(dataset.classes.get(split, "-")) for split in SPLITS) if dataset.classes else ""


def _state(dataset: Dataset, data_root: Path) -> str:
    if dataset.files(data_root):
        return "there"
    return "rendered when first used" if dataset.name.startswith("glyphs") else "missing"


def _readable_by(dataset: Dataset, data_root: Path) -> By:
    """The first way in which it can be split; a folder of few classes can't be split by them."""
    *further, last = dataset.splits_by
    for by in further:
        with suppress(UserError):
            dataset.load("train", by, data_root)
            return by
    return last
