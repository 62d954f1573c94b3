"""ImageNet-LT and iNaturalist 2018: photographs whose training classes are long-tailed as they are.

Both come as lists over a folder of images. The images are prepared once: the shorter side is scaled to 256
pixels, the central 224 x 224 are kept. Training on random parts of the original photographs, as published,
is therefore not possible; the random crop of the prepared ones stands in for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sla_bench.datasets.base import By, Fit, ImageProperties, LabeledImages, Split
from sla_bench.datasets.image_files import decoded_blocks
from sla_bench.datasets.image_lists import check_images, check_labels, class_names_of, read_image_list
from sla_bench.datasets.layouts import Layout, LayoutDataset
from sla_bench.datasets.sources import SplitSource
from sla_bench.errors import UserError

_SIZE = 224
_FIT: Fit = "inner"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PublishedList:
    """A list as its makers published it: name of the file and number of images."""

    file: str
    images: int


@dataclass(frozen=True)
class LongTailedPhotographs(LayoutDataset):
    """Photographs that are named in published lists.

    "trainval" is "train", the whole long-tailed training list: ImageNet-LT's validation list is balanced and
    serves selection, iNaturalist's is its test set. Lists of fewer classes than published are admitted; with
    the published number of classes they must have the published number of images.
    """

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split, a memory map; see `Dataset.load`."""
        self.check_split(split, by)
        on_disk: Split = "train" if split == "trainval" else split
        if on_disk not in self.splits:
            raise UserError(
                f"{self.name} has no {split} split: its published validation list is the test split, because "
                "the labels of its test images are not public"
            )
        return super().load(on_disk, by, data_root, split_seed)

    def _check_count(self, source: SplitSource, split: Split, base: Path) -> None:
        """Smaller versions are admitted; the lists themselves have been checked."""


def _list_files(lists: Mapping[Split, PublishedList], base: Path, split: Split) -> list[Path]:
    # The training list decides the classes of every split.
    return list(dict.fromkeys([base / lists[split].file, base / lists["train"].file]))


def _read(lists: Mapping[Split, PublishedList], num_classes: int, base: Path, split: Split) -> SplitSource:
    train = read_image_list(base / lists["train"].file)
    names = class_names_of(train)
    chosen = train if split == "train" else read_image_list(base / lists[split].file)
    check_labels(chosen, len(names))
    found, published = len(chosen.images), lists[split].images
    if len(names) > num_classes or (len(names) == num_classes and found != published):
        raise UserError(
            f"{chosen.file} names {found:,} images of {len(names):,} classes, published are {published:,} of "
            f"{num_classes:,}; fetch it again"
        )
    check_images(chosen, base)
    paths = [base / image for image in chosen.images]
    blocks = decoded_blocks(
        paths, _SIZE, _FIT, lambda position: f"{paths[position]} ({chosen.place(position)})"
    )
    return SplitSource((len(paths), _SIZE, _SIZE, 3), chosen.labels, names, blocks)


def _photographs(
    name: str,
    folder: str,
    num_classes: int,
    lists: Mapping[Split, PublishedList],
    *,
    origin: str,
    jitter: float,
) -> LongTailedPhotographs:
    files = ", ".join(published.file for published in lists.values())
    return LongTailedPhotographs(
        name=name,
        properties=ImageProperties(
            size=_SIZE,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            crop_padding=28,
            flip=True,
            jitter=jitter,
            fit=_FIT,
        ),
        origin=origin,
        classes=dict.fromkeys(lists, num_classes),
        splits_by=("images",),
        alternative="use mini_imagenet or tiered_imagenet",
        group_thresholds=(100, 20),
        long_tailed=True,
        layouts=(
            Layout(
                name=f"{folder}/ with {files} and the images that they name",
                folders=(folder,),
                files=partial(_list_files, lists),
                read=partial(_read, lists, num_classes),
                decoded=True,
                splits=tuple(lists),
            ),
        ),
    )


IMAGENET_LT = _photographs(
    "imagenet_lt",
    "ImageNet_LT",
    1000,
    {
        "train": PublishedList("ImageNet_LT_train.txt", 115_846),
        "val": PublishedList("ImageNet_LT_val.txt", 20_000),
        "test": PublishedList("ImageNet_LT_test.txt", 50_000),
    },
    origin=(
        "put the lists of https://github.com/zhmiao/OpenLongTailRecognition-OLTR and ImageNet's folders "
        "train/ and val/ (one folder per class in each, https://image-net.org) into ImageNet_LT/ there"
    ),
    jitter=0.0,
)
"""ImageNet-LT (Liu et al., CVPR 2019): 1,000 classes of 1,280 down to 5 training images."""

INATURALIST2018 = _photographs(
    "inaturalist2018",
    "iNaturalist18",
    8142,
    {
        "train": PublishedList("iNaturalist18_train.txt", 437_513),
        "test": PublishedList("iNaturalist18_val.txt", 24_426),
    },
    origin=(
        "put the lists of https://github.com/facebookresearch/classifier-balancing and the folder "
        "train_val2018/ of https://github.com/visipedia/inat_comp into iNaturalist18/ there"
    ),
    jitter=0.4,
)
"""iNaturalist 2018: 8,142 species of 1,000 down to 2 training images; tested on the validation list, as usual
in the literature."""
