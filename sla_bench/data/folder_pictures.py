"""Facts on the pictures of a folder: size, depth, shape, repetition."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from sla_bench.data.base import By, Fit
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.depth import Depth, depth_of
from sla_bench.data.folder_listing import FolderListing
from sla_bench.data.folder_names import canonical_dataset
from sla_bench.data.folder_splits import split_listing
from sla_bench.data.images import look_at
from sla_bench.data.kept import keep
from sla_bench.data.preparation import Progress
from sla_bench.data.sources import available_cores
from sla_bench.errors import UserError

FACTS = ".facts.npz"
"""Ending of the file of facts beside a map."""
_AT_A_TIME = 512
_HASH_BYTES = 8
_NOT_DEEP = (0, -1)


@dataclass(frozen=True)
class PictureFacts:
    """Facts on N pictures besides their pixels.

    Args:
        sizes: width and height of the files as they are shown, int64 (N, 2); 0 where a file is not a picture.
        ranges: lowest and highest value of pictures of more than 8 bits per channel, int64 (N, 2); 0 and -1
            for others.
        hashes: of the pixels that are kept, uint64 (N,); equal by chance once in a million sets of a million.
    """

    sizes: np.ndarray
    ranges: np.ndarray
    hashes: np.ndarray

    @cached_property
    def deep(self) -> np.ndarray:
        """Positions of pictures of more than 8 bits per channel."""
        return np.flatnonzero(self.ranges[:, 1] >= self.ranges[:, 0])

    @cached_property
    def depth(self) -> Depth | None:
        """The range of all of them; None where all pictures have 8 bits."""
        found = self.ranges[self.deep]
        return depth_of(int(found[:, 0].min()), int(found[:, 1].max())) if len(found) else None

    @cached_property
    def long(self) -> np.ndarray:
        """Positions of pictures more than twice as long as wide, whose central square is less than half."""
        return np.flatnonzero(self.sizes.max(1) > 2 * self.sizes.min(1))

    def without(self, positions: Sequence[int]) -> PictureFacts:
        """The facts of the other pictures."""
        return PictureFacts(*(np.delete(a, positions, 0) for a in (self.sizes, self.ranges, self.hashes)))


def seen_of(images: Sequence[Path | bytes], progress: Progress) -> PictureFacts:
    """Look at each picture; nothing but pictures of more than 8 bits is decoded, and there are no hashes yet.

    Args:
        images: files or their content; not a picture gets the size 0: decoding says what is wrong with it.
        progress: called at the start and after each block.
    """
    sizes, ranges = np.zeros((len(images), 2), np.int64), np.full((len(images), 2), _NOT_DEEP, np.int64)
    progress(0, len(images))
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(images), _AT_A_TIME):
            found = pool.map(_seen, images[start : start + _AT_A_TIME])
            for position, (size, values) in enumerate(found, start):
                sizes[position], ranges[position] = size, values or _NOT_DEEP
            progress(min(start + _AT_A_TIME, len(images)), len(images))
    return PictureFacts(sizes, ranges, np.zeros(len(images), np.uint64))


def keep_facts(path: Path, seen: PictureFacts, images: np.ndarray) -> PictureFacts:
    """Add the hash of each image of a map, uint8 (N, H, W, 3), and keep the facts beside the map."""
    digests = [hashlib.blake2b(image, digest_size=_HASH_BYTES).digest() for image in images]
    facts = replace(seen, hashes=np.frombuffer(b"".join(digests), np.uint64))
    keep(path, lambda file: np.savez(file, sizes=facts.sizes, ranges=facts.ranges, hashes=facts.hashes))
    return facts


def read_facts(path: Path, count: int) -> PictureFacts | None:
    """Read the facts of so many pictures; None where there are none that fit."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            facts = PictureFacts(stored["sizes"], stored["ranges"], stored["hashes"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = facts.sizes.shape == facts.ranges.shape == (count, 2) and facts.hashes.shape == (count,)
    return facts if fits else None


def _seen(image: Path | bytes) -> tuple[tuple[int, int], tuple[int, int] | None]:
    try:
        return look_at(image, "")
    except UserError:
        return (0, 0), None


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
            add("in two classes", 1, own, others)
    return Repeats(len(order), len(alike), leaks)


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

    def repeats(self, by: By | None = None) -> Repeats:
        """Pictures that are in two parts or two classes; where the seed chooses the parts, in two classes."""
        for kind in reversed(get_args(By)) if by is None else (by,):
            with suppress(UserError):
                parts = None
                if kind == "images" or not self.seeded:
                    parts = np.full(len(self.listing.images), -1)
                    for position, split in enumerate(SPLITS):
                        parts[split_listing(self.listing, split, kind, 0)[0]] = position
                return find_repeats(self.facts.hashes, self.listing.labels, parts)
        return find_repeats(self.facts.hashes, self.listing.labels, None)

    def remarks(self, by: By | None = None) -> list[str]:
        """Sentences on depth, shape and repetition; none where all is as usual."""
        names, leaks = self.listing.images, self.repeats(by).leaks
        said = "; ".join(
            f"{count:,} {where} ({names[i]} = {names[j]})" for where, (count, i, j) in leaks.items()
        )
        repeated = [f"repeated images: {said}; accuracy on these is not a measure"] if said else []
        return [*self._on_depth(), *self._on_shape(), *repeated]

    def findings(self, by: By) -> dict[str, Any]:
        """The same for a record: `pixel_range` [low, high] and `repeated_images`."""
        depth, names = self.facts.depth, self.listing.images
        repeated = {
            where: {"count": count, "example": [names[i], names[j]]}
            for where, (count, i, j) in self.repeats(by).leaks.items()
        }
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
