"""Seeded splits of classes and images, for data sets without a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sla_bench.data.base import Split

MIN_CLASSES = 6
"""Fewer classes cannot be split into three parts of two."""


def class_split_sizes(num_classes: int) -> dict[Split, int]:
    """How many classes go to each split: 64/16/20 of 100 as in miniImageNet.

    With few classes validation and test get up to five, so that 5-way episodes are possible from 15 classes
    on, but never more than a third: 10 classes are split 4/3/3.

    Raises:
        ValueError: fewer than `MIN_CLASSES` classes.
    """
    if num_classes < MIN_CLASSES:
        raise ValueError(f"{num_classes} classes cannot be split, {MIN_CLASSES} are needed")
    floor = min(5, num_classes // 3)
    val = max(round(0.16 * num_classes), floor)
    test = max(round(0.20 * num_classes), floor)
    return {"train": num_classes - val - test, "val": val, "test": test}


def split_classes(num_classes: int, seed: int) -> dict[Split, np.ndarray]:
    """Disjoint classes for each split, int64 (n,), ascending; together all of 0..num_classes-1.

    Raises:
        ValueError: fewer than `MIN_CLASSES` classes.
    """
    sizes = class_split_sizes(num_classes)
    order = np.random.default_rng(seed).permutation(num_classes)
    parts = np.split(order, np.cumsum([sizes["train"], sizes["val"]]))
    return dict(zip(("train", "val", "test"), (np.sort(part) for part in parts), strict=True))


def split_images(
    labels: np.ndarray, fractions: Sequence[float], seed: int, smallest: int = 1
) -> list[np.ndarray]:
    """Split the images of every class at random in the same proportions.

    Args:
        labels: int64 (N,).
        fractions: of each part; they sum to 1.
        seed: chooses the images.
        smallest: classes of fewer images go to the first part as a whole.

    Returns:
        For each part the indices, int64 (n,), ascending. Every part gets at least one image of every class
        that is divided; what rounding leaves goes to the first.

    Raises:
        ValueError: a class has fewer images than there are parts.
    """
    generator = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    for label in np.unique(labels):
        index = generator.permutation(np.flatnonzero(labels == label))
        if len(index) < smallest:
            parts[0].append(index)
            continue
        if len(index) < len(fractions):
            raise ValueError(f"class {label} has {len(index)} images for {len(fractions)} parts")
        later = [max(1, round(fraction * len(index))) for fraction in fractions[1:]]
        while sum(later) >= len(index):
            later[int(np.argmax(later))] -= 1
        bounds = np.cumsum([len(index) - sum(later), *later[:-1]])
        for part, chosen in zip(parts, np.split(index, bounds), strict=True):
            part.append(chosen)
    return [np.sort(np.concatenate([np.arange(0), *part])) for part in parts]
