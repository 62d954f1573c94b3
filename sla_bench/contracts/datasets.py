"""The contract of data sets."""

from __future__ import annotations

import hashlib
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np

from sla_bench.contracts.checks import Check, Checks, Note, first_problem
from sla_bench.data.base import By, Dataset, LabeledImages, Split

_MOST_SHARED = 0.01
"""Share of a split's images that may also stand in another, as in published data sets."""
_BLOCK = 4096


def dataset_checks(dataset: Dataset, data_root: Path) -> Checks:
    """The checks of a data set, on its files below `data_root`."""
    contract = _DatasetContract(dataset, data_root)
    checks: dict[str, Check] = {}
    for by in dataset.splits_by:
        splits: tuple[Split, ...] = ("train", "val", "test")
        checks |= {
            f"by {by}: loads {', '.join(splits)}": partial(contract.loads, splits, by),
            f"by {by}: images are squares of its size": partial(contract.sizes, splits, by),
            f"by {by}: {_CLASSES_OF[by]}": partial(contract.classes, splits, by),
            f"by {by}: no image stands in two splits": partial(contract.disjoint, splits, by),
            f"by {by}: gives the same images again": partial(contract.repeats, splits, by),
            f"by {by}: the seed of the split does as said": partial(contract.seeds, by),
        }
    if "images" in dataset.splits_by:
        checks["by images: trainval is train and val"] = contract.trainval
    return checks


_CLASSES_OF: dict[By, str] = {
    "classes": "splits have different classes",
    "images": "splits have the same classes in the same order",
}


class _DatasetContract:
    def __init__(self, dataset: Dataset, data_root: Path) -> None:
        self.dataset, self.data_root = dataset, data_root
        self.load = cache(self._load)

    def _load(self, split: Split, by: By, seed: int = 0) -> LabeledImages:
        return self.dataset.load(split, by, self.data_root, seed)

    def loads(self, splits: tuple[Split, ...], by: By) -> str | None:
        for split in splits:
            images = self.load(split, by)
            if not isinstance(images, LabeledImages):
                return f"{split} is a {type(images).__name__}, not LabeledImages"
        return None

    def sizes(self, splits: tuple[Split, ...], by: By) -> str | None:
        size, larger = self.dataset.properties.size, self.dataset.properties.resized_crop
        for split in splits:
            height, width = self.load(split, by).images.shape[1:3]
            if height != width or (height < size if larger else height != size):
                return f"{split} has {height} x {width} pixels, properties.size is {size}"
            images = self.load(split, by).images[:_BLOCK]
            if self.dataset.properties.grey and not np.array_equal(images, images[..., :1].repeat(3, 3)):
                return f"{split} has coloured images, properties.grey is true"
        return None

    def classes(self, splits: tuple[Split, ...], by: By) -> str | None:
        for first, second in combinations(splits, 2):
            names = self.load(first, by).class_names, self.load(second, by).class_names
            if by == "images" and names[0] != names[1]:
                return f"those of {first} and {second} differ"
            shared = {*names[0]} & {*names[1]} if by == "classes" else set()
            if shared:
                return f"{first} and {second} share {len(shared)}, such as {min(shared)!r}"
        return None

    def disjoint(self, splits: tuple[Split, ...], by: By) -> str | None:
        hashes = {split: _hashes(self.load(split, by)) for split in splits}
        problems: list[str | None] = []
        for first, second in combinations(splits, 2):
            shared = len(hashes[first] & hashes[second])
            words = f"{shared} of {second} stand in {first} pixel for pixel"
            few = shared <= _MOST_SHARED * len(hashes[second])
            problems.append(None if not shared else Note(words) if few else words)
        return first_problem(*(p for p in problems if not isinstance(p, Note)), *problems)

    def repeats(self, splits: tuple[Split, ...], by: By) -> str | None:
        for split in splits:
            images = self.load(split, by)
            if self._load(split, by).checksum != images.checksum:
                return f"{split} differs"
            if self.dataset.checksum(split, by, self.data_root) != images.checksum:
                return f"checksum() of {split} differs from that of the images"
            sizes = dict(zip(images.class_names, images.class_counts.tolist(), strict=True))
            if self.dataset.class_sizes(split, by, self.data_root) != sizes:
                return f"class_sizes() of {split} differs from the labels"
        return None

    def seeds(self, by: By) -> str | None:
        checksums = {self._load("train", by, seed).checksum for seed in range(3)}
        if self.dataset.split_depends_on_seed and len(checksums) == 1:
            return "split_depends_on_seed is true, and seeds 0 to 2 give the same train"
        if not self.dataset.split_depends_on_seed and len(checksums) > 1:
            return "split_depends_on_seed is false, and seeds 0 to 2 give different train"
        return None

    def trainval(self) -> str | None:
        parts = [self.load(split, "images") for split in ("train", "val")]
        both, whole = sum(map(len, parts)), self.load("trainval", "images")
        if len(whole) != both:
            return f"it has {len(whole)} images, train and val have {both}"
        known = _hashes(parts[0]) | _hashes(parts[1])
        return None if _hashes(whole) == known else "its images are other ones"


def _hashes(images: LabeledImages) -> set[bytes]:
    """A hash of the pixels of each image."""
    return {
        hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images.images
    }
