"""CUB-200-2011, MIT indoor scenes and Stanford Dogs: photographs in the split that their makers' lists give.

Each data set is a row of a table: where its lists lie, and which column of them says what.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sla_bench.datasets.base import Split
from sla_bench.datasets.image_lists import class_names_of
from sla_bench.datasets.layouts import Layout
from sla_bench.datasets.list_columns import MatColumn, Recipe, TextColumn
from sla_bench.datasets.photographs import photograph_source, photographs
from sla_bench.datasets.sources import SplitSource

_CUB = Recipe(
    images=dict.fromkeys(("train", "test"), TextColumn("images.txt", has_ids=True)),
    folder="images",
    labels=dict.fromkeys(("train", "test"), TextColumn("image_class_labels.txt", has_ids=True)),
    member=TextColumn("train_test_split.txt", has_ids=True),
    members={"train": "1", "test": "0"},
)
_MIT67 = Recipe(
    images={"train": TextColumn("TrainImages.txt"), "test": TextColumn("TestImages.txt")}, folder="Images"
)


def _dogs(lists: str) -> Recipe:
    files: dict[Split, str] = {"train": f"{lists}train_list.mat", "test": f"{lists}test_list.mat"}
    return Recipe(
        images={split: MatColumn(file, "file_list") for split, file in files.items()},
        folder="Images",
        labels={split: MatColumn(file, "labels") for split, file in files.items()},
    )


def _read(recipe: Recipe, base: Path, split: Split) -> SplitSource:
    train = recipe.read(base, "train")
    chosen = train if split == "train" else recipe.read(base, split)
    return photograph_source(chosen, class_names_of(train), base / recipe.folder, base, split)


def _layout(name: str, folders: tuple[str, ...], recipe: Recipe) -> Layout:
    return Layout(
        name=name,
        folders=folders,
        files=recipe.files,
        read=partial(_read, recipe),
        decoded=True,
        splits=("train", "test"),
    )


CUB200 = photographs(
    "cub200",
    200,
    {"train": 5_994, "test": 5_794},
    (
        _layout(
            "CUB_200_2011/ with images.txt, image_class_labels.txt, train_test_split.txt and images/",
            ("CUB_200_2011", "CUB_200_2011/CUB_200_2011"),
            _CUB,
        ),
    ),
    "unpack CUB_200_2011.tgz of https://www.vision.caltech.edu/datasets/cub_200_2011/ there",
)
"""Caltech-UCSD Birds (Wah et al. 2011): 200 species, about 30 training images each."""

MIT67 = photographs(
    "mit67",
    67,
    {"train": 5_360, "test": 1_340},
    (
        _layout(
            "MIT67/ with TrainImages.txt, TestImages.txt and Images/",
            ("MIT67", "mit67", "indoorCVPR_09"),
            _MIT67,
        ),
    ),
    "unpack indoorCVPR_09.tar of https://web.mit.edu/torralba/www/indoor.html into MIT67/ there, and put "
    "TrainImages.txt and TestImages.txt of the same page beside Images/",
)
"""Indoor scenes (Quattoni and Torralba, CVPR 2009): 67 kinds of room, 80 training and 20 test images each."""

_DOGS_FOLDERS = ("StanfordDogs", "stanford_dogs", "Stanford_Dogs")
STANFORD_DOGS = photographs(
    "stanford_dogs",
    120,
    {"train": 12_000, "test": 8_580},
    (
        _layout("StanfordDogs/ with lists/{train,test}_list.mat and Images/", _DOGS_FOLDERS, _dogs("lists/")),
        _layout("StanfordDogs/ with {train,test}_list.mat and Images/", _DOGS_FOLDERS, _dogs("")),
    ),
    "unpack images.tar and lists.tar of http://vision.stanford.edu/aditya86/ImageNetDogs/ into StanfordDogs/ "
    "there",
)
"""Stanford Dogs (Khosla et al. 2011): 120 breeds, 100 training images each."""
