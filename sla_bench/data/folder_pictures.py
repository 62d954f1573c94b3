"""Remarks on the pictures in a folder: depth, shape, repetition."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from sla_bench.data.base import By, Fit
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder_listing import FolderListing
from sla_bench.data.folder_names import canonical_dataset
from sla_bench.data.folder_splits import split_listing
from sla_bench.data.picture_facts import PictureFacts
from sla_bench.data.repeated_images import Repeats, find_repeats
from sla_bench.errors import UserError

_DARK = 16
"""A picture is nearly black whose largest value is less than this part of the range."""


@dataclass(frozen=True)
class FolderPictures:
    """The pictures of a folder that can be read.

    Args:
        name: of the data set.
        fit: how they become squares.
        facts: on each.
        listing: of the same, in the same order.
        seeded: the seed chooses the classes of a split.
    """

    name: str
    fit: Fit
    facts: PictureFacts
    listing: FolderListing
    seeded: bool

    def parts(self, by: By) -> np.ndarray:
        """Position in SPLITS of the part of each picture, -1 for none, int64 (N,).

        Raises:
            UserError: the folder cannot be split like this.
        """
        parts = np.full(len(self.listing.images), -1)
        for position, split in enumerate(SPLITS):
            parts[split_listing(self.listing, split, by, 0)[0]] = position
        return parts

    def repeats(self, by: By | None = None) -> Repeats:
        """Pictures that are in two parts or two classes; where the seed chooses the parts, in two classes."""
        for kind in reversed(get_args(By)) if by is None else (by,):
            with suppress(UserError):
                parts = None if kind == "classes" and self.seeded else self.parts(kind)
                return find_repeats(self.facts.hashes, self.listing.labels, parts)
        return find_repeats(self.facts.hashes, self.listing.labels, None)

    def remarks(self, by: By | None = None) -> list[str]:
        """Sentences on depth, shape and repetition; none where all is as usual."""
        names = self.listing.images
        return [*self._on_depth(), *self._on_shape(), *self.repeats(by).sentences(names)]

    def findings(self, by: By) -> dict[str, Any]:
        """The same for a record: `pixel_range` [low, high] and `repeated_images`."""
        depth, repeated = self.facts.depth, self.repeats(by).record(self.listing.images)
        ranges = {} if depth is None else {"pixel_range": [depth.low, depth.high]}
        return {**ranges, **({"repeated_images": repeated} if repeated else {})}

    def _on_depth(self) -> list[str]:
        depth, deep = self.facts.depth, self.facts.deep
        if depth is None:
            return []
        highest = self.facts.ranges[deep, 1]
        said = (
            f"{len(deep):,} of {len(self.listing.images):,} images have more than 8 bits per channel; their "
            f"values {depth.low:,} to {depth.high:,} become 0 to 255"
        )
        dark = deep[highest - depth.low < (depth.high - depth.low) / _DARK]
        if len(dark):
            names, first = self.listing.images, dark[0]
            said += (
                f", so that {len(dark):,} of them are nearly black ({names[first]}: up to "
                f"{self.facts.ranges[first, 1]:,}; {names[deep[highest.argmax()]]}: up to {highest.max():,})"
            )
        return [said]

    def _on_shape(self) -> list[str]:
        long, sizes = self.facts.long, self.facts.sizes
        if self.fit != "crop" or not len(long):
            return []
        worst = long[np.argmax(sizes[long].max(1) / sizes[long].min(1))]
        said = (
            f"{len(long):,} of {len(sizes):,} images are more than twice as long as wide "
            f"({self.listing.images[worst]}: {sizes[worst, 0]} x {sizes[worst, 1]}); the central square is "
            f"less than half of these, {canonical_dataset(self.name, {'fit': 'pad'})} keeps all of them"
        )
        return [said]
