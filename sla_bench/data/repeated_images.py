"""The same picture in several parts or classes of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sla_bench.data.class_lists import SPLITS

_IN_TWO_CLASSES = "in two classes"


class Repeats(NamedTuple):
    """Pictures with the same pixels.

    Args:
        images: files that show a picture which another file shows, too.
        pictures: that these show.
        leaks: "of test also in train", ... -> number of images, and positions of one of them and of its like;
            "in two classes" -> number of pictures, and positions of two images of the first.
    """

    images: int
    pictures: int
    leaks: dict[str, tuple[int, int, int]]

    def sentences(self, names: Sequence[str]) -> list[str]:
        """A warning of pictures in two parts or classes; empty where there are none.

        Args:
            names: of the images.
        """
        said = (f"{count:,} {where} ({names[i]} = {names[j]})" for where, (count, i, j) in self.leaks.items())
        text = "; ".join(said)
        return [f"repeated images: {text}; accuracy on these is not a measure"] if text else []

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """The same for a record."""
        return {
            where: {"count": count, "example": [names[i], names[j]]}
            for where, (count, i, j) in self.leaks.items()
        }


def find_repeats(hashes: np.ndarray, labels: np.ndarray, parts: np.ndarray | None) -> Repeats:
    """Find images with the same hash.

    Args:
        hashes: of their pixels, uint64 (N,).
        labels: class of each image, int64 (N,).
        parts: position in SPLITS of the part that it belongs to, -1 for none, int64 (N,); None: there are no
            parts to compare.
    """
    _, groups, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[groups] > 1)
    order = repeated[np.argsort(groups[repeated], kind="stable")]
    alike = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
    leaks: dict[str, tuple[int, int, int]] = {}

    def add(where: str, count: int, images: np.ndarray, like: np.ndarray) -> None:
        known = leaks.get(where, (0, int(images[0]), int(like[0])))
        leaks[where] = (known[0] + count, *known[1:])

    for own in sorted(alike, key=lambda positions: int(positions[0])):
        for late, early in () if parts is None else ((2, 0), (1, 0), (2, 1)):
            of_late, of_early = (own[parts[own] == part] for part in (late, early))  # type: ignore[index]
            if len(of_late) and len(of_early):
                add(f"of {SPLITS[late]} also in {SPLITS[early]}", len(of_late), of_late, of_early)
        others = own[labels[own] != labels[own[0]]]
        if len(others):
            add(_IN_TWO_CLASSES, 1, own, others)
    return Repeats(len(order), len(alike), leaks)
