"""The images of a folder, decoded once into a memory map."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np

from sla_bench.data import layouts
from sla_bench.data.base import By, Fit, LabeledImages, Split
from sla_bench.data.folder_listing import FolderListing
from sla_bench.data.folder_pictures import (
    FACTS,
    PictureFacts,
    read_facts,
    seen_of,
    with_hashes,
    write_facts,
)
from sla_bench.data.folder_splits import split_listing
from sla_bench.data.kept import kept_checksum
from sla_bench.data.preparation import IN_THREADS, Preparation, terminal_progress
from sla_bench.data.prepared import (
    Origin,
    map_path,
    open_map,
    read_description,
    verify_map,
    write_map,
)
from sla_bench.data.sources import EncodedImages, SplitSource, array_blocks, decoded_source, relabel
from sla_bench.errors import UserError

_DECODING = 4  # counts up when the same file would become other pixels
_ALL = "all"
_FACTS = f"{_ALL}{FACTS}"


@dataclass(frozen=True)
class FolderMap:
    """The map of a listing's images below `DATA_ROOT/prepared/`, with hashes and facts beside it.

    Args:
        listing: all images of the folder.
        size: height = width in pixels.
        fit: how images become squares.
        data_root: below which the map lies.
    """

    listing: FolderListing
    size: int
    fit: Fit
    data_root: Path

    @cached_property
    def folder(self) -> Path:
        """Where the map lies; another one for every state of the listing."""
        of = self.listing
        key = f"{_DECODING} {self.size} {self.fit} {of.fingerprint} {of.path.resolve()}"
        if of.small:
            key += f" without {of.small}"
        return self.data_root / "prepared" / f"folder-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    @property
    def path(self) -> Path:
        """The file of the map."""
        return map_path(self.folder, _ALL)

    @property
    def undecodable(self) -> list[str]:
        """Images that a finished map lacks because they can't be decoded."""
        found = read_description(self.folder, _ALL)
        return found.left_out if found is not None else []

    @property
    def readable(self) -> FolderListing:
        """The listing without these."""
        undecodable = self.undecodable
        return self.listing.without(undecodable) if undecodable else self.listing

    def images(self, how: Preparation = IN_THREADS) -> LabeledImages:
        """All images of `readable`; they are decoded unless they were before and no file has changed.

        Raises:
            UserError: an image can't be decoded, or the map can't be written.
        """
        prepared = open_map(self.folder, _ALL)
        if prepared is None:
            self.convert(how)
            prepared = open_map(self.folder, _ALL)
        if prepared is None:
            raise UserError(f"{self.folder} was deleted while it was read; try again")
        return prepared

    def convert(self, how: Preparation = IN_THREADS) -> None:
        """Decode all images, and keep what later commands want to know without reading them.

        Raises:
            UserError: as `images`.
        """
        paths, seen = self._paths, self._seen()
        images = EncodedImages(
            paths, self.size, self.fit, lambda i: str(paths[i]), self.listing.path, depth=seen.depth
        )
        self._write(_ALL, decoded_source(images, self.listing.labels, self.listing.class_names), how)
        if (made := open_map(self.folder, _ALL)) is not None:
            self._keep_facts(seen, made.images)
        for by, split in itertools.product(get_args(By), get_args(Split)):
            # Not every folder has every kind of split.
            if (by, split) != ("classes", "trainval"):
                with suppress(UserError):
                    self.checksum(split, by)

    def part(self, split: Split, by: By, seed: int) -> LabeledImages:
        """The images of one split; see `split_listing`.

        Raises:
            UserError: as `images` and `split_listing`.
        """
        # Refused before an hour is spent on decoding.
        split_listing(self.listing, split, by, seed)
        prepared = self.images()
        index, labels, names = part_of(self.readable, split, by, seed)
        if not len(index):
            raise UserError(
                f"{self.listing.path}: no image is left for {split}, all classes are too small to be split"
            )
        if np.array_equal(index, np.arange(len(prepared))):
            return LabeledImages(prepared.images, labels, names, grey=prepared.grey)
        shape = (len(index), *prepared.images.shape[1:])
        present, values = relabel(labels)
        source = SplitSource(
            shape, present, tuple(names[value] for value in values), array_blocks(prepared.images, index)
        )
        images = source.read() if source.num_bytes <= layouts.DIRECT_LIMIT else self._large(source, index)
        return LabeledImages(
            images.images, labels, names, grey=prepared.grey, may_lack_classes=by == "images"
        )

    def checksum(self, split: Split, by: By, seed: int = 0) -> str | None:
        """The checksum of one split, kept beside the map; None where there is no map.

        Raises:
            UserError: as `split_listing`, or the map is damaged.
        """
        index, labels, names = part_of(self.readable, split, by, seed)
        return kept_checksum(self.folder, _ALL, labels, names, index)

    def facts(self) -> PictureFacts:
        """Facts on each image of `readable`.

        Raises:
            UserError: as `images`.
        """
        prepared = self.images()
        facts = read_facts(self.folder / _FACTS, len(prepared))
        if facts is None:
            facts = self._keep_facts(self._seen(), prepared.images)
        return facts

    def _keep_facts(self, seen: PictureFacts, images: np.ndarray) -> PictureFacts:
        absent = frozenset(self.undecodable)
        seen = seen.without([i for i, image in enumerate(self.listing.images) if image in absent])
        facts = with_hashes(seen, images)
        write_facts(self.folder / _FACTS, facts)
        return facts

    def verify(self) -> list[tuple[Path, str]]:
        """Compare the maps with the checksums taken when they were made."""
        names = sorted(path.stem for path in self.folder.glob("*.json"))
        return [(map_path(self.folder, name), verify_map(self.folder, name)) for name in names]

    def _large(self, source: SplitSource, index: np.ndarray) -> LabeledImages:
        """A part that does not fit into memory, as a map of its own."""
        whole = read_description(self.folder, _ALL)
        key = index.tobytes() + (whole.sha256.encode() if whole is not None else b"")
        name = f"part-{hashlib.sha256(key).hexdigest()[:16]}"
        if open_map(self.folder, name) is None:
            self._write(name, source, IN_THREADS)
        return open_map(self.folder, name) or source.read()

    @cached_property
    def _paths(self) -> list[Path]:
        return [self.listing.path / image for image in self.listing.images]

    def _seen(self) -> PictureFacts:
        what = f"looking at {len(self._paths):,} images of {self.listing.path}"
        with terminal_progress(what, line=False) as progress:
            return seen_of(self._paths, progress)

    def _write(self, name: str, source: SplitSource, how: Preparation) -> None:
        origin = Origin("folder", self.listing.path, self.listing.fingerprint)
        with terminal_progress(f"reading {source.shape[0]:,} images of {self.listing.path}") as progress:
            write_map(self.folder, name, source, origin, progress, how)


def part_of(
    listing: FolderListing, split: Split, by: By, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Positions of the images of a split, their labels, both int64 (n,), and the names of its classes.

    By images, all classes of the folder are named; those without an image in the split have no label there.

    Raises:
        UserError: as `split_listing`.
    """
    index, classes = split_listing(listing, split, by, seed)
    if by == "images":
        return index, classes, listing.class_names
    labels, values = relabel(classes)
    return index, labels, tuple(listing.class_names[value] for value in values)
