"""Photographs of any size with one split into training and test images."""

# Photographs are prepared once. Training images keep their central square, scaled to 256 x 256, and training
# sees random parts of the square at 224 x 224, never the area beyond it, unlike trainings on the original
# photographs. Test images are scaled to a shorter side of 256 and keep the central 224 x 224, as usual.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sla_bench.data.base import By, ImageProperties, LabeledImages, Split
from sla_bench.data.layouts import Layout, LayoutDataset
from sla_bench.data.lists import ImageList, listed_source
from sla_bench.data.sources import SplitSource
from sla_bench.errors import UserError

SIZE = 224
TRAINING_SIZE = 256
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Photographs(LayoutDataset):
    """Photographs in a published split into training and test images.

    "trainval" is all training images; a list of validation images that is published besides serves
    selection. Versions with fewer classes than published are admitted; with the published number of classes
    they must have the published number of images.

    Args:
        published: images of each split.
        validation_is_test: what is published as validation images is the test split.
    """

    published: Mapping[Split, int] = field(default_factory=dict)
    validation_is_test: bool = False

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split, a memory map; see `Dataset.load`."""
        self.check_split(split, by)
        if split == "val" and split not in self.splits:
            reason = (
                ": its published validation images are the test split, because the labels of its test images "
                "are not public"
                if self.validation_is_test
                else ", only train and test"
            )
            raise UserError(f"{self.name} has no {split} split{reason}")
        return super().load(split, by, data_root, split_seed)

    def _check_count(self, source: SplitSource, split: Split, base: Path) -> None:
        classes, images = len(source.class_names), source.shape[0]
        if classes < 2:
            raise UserError(
                f"{base} has only images of {source.class_names[0]!r}; a classifier needs two at least"
            )
        known = self.classes[split]
        if classes > known or (classes == known and images != self.published[split]):
            raise UserError(
                f"{base} has {images:,} images of {classes:,} classes for {split}, published are "
                f"{self.published[split]:,} of {known:,}; fetch it again"
            )


def photographs(
    name: str,
    num_classes: int,
    published: Mapping[Split, int],
    layouts: tuple[Layout, ...],
    origin: str,
    *,
    jitter: float = 0.0,
    **further: Any,
) -> Photographs:
    """A data set of photographs that is trained on random parts of them, at 224 x 224 pixels.

    Args:
        name: as in the registry.
        num_classes: as published.
        published: images of each split.
        layouts: as in `LayoutDataset`.
        origin: as in `Dataset`.
        jitter: strength of the colour jitter.
        **further: other fields of `Dataset`.
    """
    return Photographs(
        name=name,
        properties=ImageProperties(
            size=SIZE,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            crop_padding=0,
            flip=True,
            jitter=jitter,
            fit="inner",
            resized_crop=True,
        ),
        origin=origin,
        classes=dict.fromkeys(published, num_classes),
        splits_by=("images",),
        alternative="use mini_imagenet or tiered_imagenet",
        layouts=layouts,
        published=published,
        **further,
    )


def photograph_source(
    chosen: ImageList, class_names: tuple[str, ...], folder: Path, base: Path, split: Split
) -> SplitSource:
    """As `listed_source`; the split decides how much of a photograph is kept."""
    if split == "train":
        return listed_source(chosen, class_names, folder, base, TRAINING_SIZE, "crop")
    return listed_source(chosen, class_names, folder, base, SIZE, "inner")
