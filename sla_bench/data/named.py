"""From a name on the command line to a data set."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sla_bench.data.preparation import note
from sla_bench.errors import UserError
from sla_bench.registry import DATASETS
from sla_bench.words import from_home

if TYPE_CHECKING:
    # NumPy alone takes as long to import as all that `--help` needs.
    from sla_bench.data.base import By, Dataset, LabeledImages, Split


def default_data_root() -> Path:
    """The folder of the data files: $SLA_BENCH_DATA, or `datasets/`."""
    return from_home(os.environ.get("SLA_BENCH_DATA", "datasets"))


def dataset_named(name: str) -> Dataset:
    """Return the data set; `folder:PATH` is built from its path, `learn2learn:NAME` from its name there.

    Raises:
        UserError: unknown name, or an argument that is missing, not taken or unknown.
    """
    piece = DATASETS.load(name)
    argument = name.partition(":")[2]
    dataset: Dataset = piece(argument) if argument else piece
    return dataset


def load_dataset(
    name: str, split: Split, by: By = "classes", data_root: Path | str | None = None, split_seed: int = 0
) -> LabeledImages:
    """Read one split of a data set.

    Args:
        name: as in `python -m sla_bench datasets`.
        split: "train", "val" or "test"; by images also "trainval", train and val together.
        by: "classes": splits have disjoint classes (few-shot); "images": the same classes in each split.
        data_root: folder of the data files; None means $SLA_BENCH_DATA or `datasets/`.
        split_seed: chooses the split where the data set has no fixed one.

    Returns:
        uint8 images (N, H, W, 3), int64 labels (N,), class names.

    Raises:
        UserError: unknown name, files that are missing, damaged or altered, or a kind of split that the data
            set does not have; the error says which it has.
    """
    root = default_data_root() if data_root is None else from_home(data_root)
    dataset = dataset_named(name)
    try:
        dataset.check_split(split, by)
        pinned = dataset.pinned()
        for line in pinned.reading_lines(by, root, split_seed):
            _note_once(line)
        images = pinned.load(split, by, root, split_seed)
        for sentence in pinned.remarks(root, by):
            _note_once(sentence)
        return images
    except UserError as error:
        able = dataset.ways_to_split(split, root, split_seed)
        if not able or by in able:
            raise
        raise UserError(f"{error}; {' or '.join(f'by={other!r}' for other in able)} works") from None


@cache
def _note_once(line: str) -> None:
    """Say a line on standard error, in each process once."""
    note(line)
