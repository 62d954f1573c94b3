"""Size, depth and content of each picture, kept beside its map."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sla_bench.data.depth import Depth, depth_of
from sla_bench.data.encoded_images import available_cores
from sla_bench.data.image_files import look_at
from sla_bench.data.kept_files import keep_arrays, kept_arrays
from sla_bench.data.progress import Progress
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


def seen_of(paths: Sequence[Path], progress: Progress) -> PictureFacts:
    """Look at each picture; nothing but pictures of more than 8 bits is decoded, and there are no hashes yet.

    Args:
        paths: of the files. One that is not a picture gets the size 0: decoding says what is wrong with it.
        progress: called at the start and after each block.
    """
    sizes, ranges = np.zeros((len(paths), 2), np.int64), np.full((len(paths), 2), _NOT_DEEP, np.int64)
    progress(0, len(paths))
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(paths), _AT_A_TIME):
            found = pool.map(_seen, paths[start : start + _AT_A_TIME])
            for position, (size, values) in enumerate(found, start):
                sizes[position], ranges[position] = size, values or _NOT_DEEP
            progress(min(start + _AT_A_TIME, len(paths)), len(paths))
    return PictureFacts(sizes, ranges, np.zeros(len(paths), np.uint64))


def with_hashes(seen: PictureFacts, images: np.ndarray) -> PictureFacts:
    """The facts with the hash of each image of a map, uint8 (N, H, W, 3)."""
    digests = [hashlib.blake2b(image, digest_size=_HASH_BYTES).digest() for image in images]
    return PictureFacts(seen.sizes, seen.ranges, np.frombuffer(b"".join(digests), np.uint64))


def write_facts(path: Path, facts: PictureFacts) -> None:
    """Keep the facts beside a map."""
    keep_arrays(path, sizes=facts.sizes, ranges=facts.ranges, hashes=facts.hashes)


def read_facts(path: Path, count: int) -> PictureFacts | None:
    """Read the facts of so many pictures; None where there are none that fit."""
    arrays = kept_arrays(path, "sizes", "ranges", "hashes")
    if arrays is None:
        return None
    facts = PictureFacts(*arrays)
    wanted = (
        (facts.sizes, (count, 2), "i8"),
        (facts.ranges, (count, 2), "i8"),
        (facts.hashes, (count,), "u8"),
    )
    return facts if all(a.shape == shape and a.dtype == kind for a, shape, kind in wanted) else None


def _seen(path: Path) -> tuple[tuple[int, int], tuple[int, int] | None]:
    try:
        return look_at(path, str(path))
    except UserError:
        return (0, 0), None
