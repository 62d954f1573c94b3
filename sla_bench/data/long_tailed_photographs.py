"""ImageNet-LT and iNaturalist 2018: photographs with long-tailed training classes."""

# Both come as lists over a folder of images, iNaturalist also as its makers' annotations.

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from sla_bench.data.base import Split
from sla_bench.data.image_lists import ImageList, class_names_of, read_image_list
from sla_bench.data.inaturalist_json import read_annotations
from sla_bench.data.layouts import Layout
from sla_bench.data.photographs import photograph_source, photographs
from sla_bench.data.sources import SplitSource

_Lists = Mapping[Split, str]
"""File of each split."""


def _list_files(lists: _Lists, base: Path, split: Split) -> list[Path]:
    # The training list decides the classes of every split.
    return list(dict.fromkeys([base / lists[split], base / lists["train"]]))


def _read(read: Callable[[Path], ImageList], lists: _Lists, base: Path, split: Split) -> SplitSource:
    train = read(base / lists["train"])
    chosen = train if split == "train" else read(base / lists[split])
    return photograph_source(chosen, class_names_of(train), base, base, split)


def _layout(
    folder: str, lists: _Lists, images: str, read: Callable[[Path], ImageList] = read_image_list
) -> Layout:
    return Layout(
        name=f"{folder}/ with {', '.join(lists.values())} and {images}",
        folders=(folder,),
        files=partial(_list_files, lists),
        read=partial(_read, read, lists),
        decoded=True,
        splits=tuple(lists),
    )


IMAGENET_LT = photographs(
    "imagenet_lt",
    1000,
    {"train": 115_846, "val": 20_000, "test": 50_000},
    (
        _layout(
            "ImageNet_LT",
            {
                "train": "ImageNet_LT_train.txt",
                "val": "ImageNet_LT_val.txt",
                "test": "ImageNet_LT_test.txt",
            },
            "the images that they name",
        ),
    ),
    "put the lists of https://github.com/zhmiao/OpenLongTailRecognition-OLTR and ImageNet's folders train/ "
    "and val/ (one folder per class in each, https://image-net.org) into ImageNet_LT/ there",
    group_thresholds=(100, 20),
    long_tailed=True,
)
"""ImageNet-LT (Liu et al., CVPR 2019): 1,000 classes of 1,280 down to 5 training images."""

INATURALIST2018 = photographs(
    "inaturalist2018",
    8142,
    {"train": 437_513, "test": 24_426},
    (
        _layout(
            "iNaturalist18",
            {"train": "iNaturalist18_train.txt", "test": "iNaturalist18_val.txt"},
            "the images that they name",
        ),
        _layout(
            "iNaturalist18",
            {"train": "train2018.json", "test": "val2018.json"},
            "train_val2018/",
            read_annotations,
        ),
    ),
    "put the folder train_val2018/, train2018.json and val2018.json of "
    "https://github.com/visipedia/inat_comp, or the lists of "
    "https://github.com/facebookresearch/classifier-balancing, into iNaturalist18/ there",
    jitter=0.4,
    group_thresholds=(100, 20),
    long_tailed=True,
    validation_is_test=True,
)
"""iNaturalist 2018: 8,142 species of 1,000 down to 2 training images; tested on the validation list, as usual
in the literature. Lists and annotations give the same labels and class names."""
