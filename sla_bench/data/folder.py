"""A user's images: `folder:PATH` with class folders, parts, or lists."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast, get_args

import numpy as np

from sla_bench.data import layouts
from sla_bench.data.base import By, Dataset, Fit, ImageProperties, LabeledImages, Split
from sla_bench.data.folder_layouts import list_folder
from sla_bench.data.folder_listing import FolderListing
from sla_bench.data.folder_names import PREFIX, parse
from sla_bench.data.folder_pictures import (
    FACTS,
    FolderPictures,
    PictureFacts,
    keep_facts,
    read_facts,
    seen_of,
)
from sla_bench.data.folder_splits import reading_lines, seed_decides, split_listing
from sla_bench.data.kept import kept_checksum
from sla_bench.data.preparation import IN_THREADS, Preparation, terminal_progress
from sla_bench.data.prepared import Origin, map_path, open_map, read_description, verify_map, write_map
from sla_bench.data.sources import EncodedImages, SplitSource, array_blocks, decoded_source, relabel
from sla_bench.errors import UserError
from sla_bench.words import from_home

_DECODING = 4  # counts up when the same file would become other pixels
_ALL = "all"


@dataclass(frozen=True, init=False)
class Folder(Dataset):
    """Images in one folder per class, of any size and kind.

    Images are scaled once to squares (the central square, the whole with bars, or stretched, as the option
    `fit` says), and kept as a memory map below `DATA_ROOT/prepared/`; when a file is added, removed or
    changed they are read again.

    Pictures lie in `PATH/CLASS/`, or in parts (`PATH/{train,val,test}/CLASS/`, one of val and test may be
    missing, other names do: `folder_tree.part_of`), or anywhere below where lists name them (`folder_lists`).

    Which images belong to which split:
    - by classes: `PATH/splits.csv` with the columns `class,split` (it may leave classes out); else the parts
      if their classes are disjoint; else the classes are split at random by `split_seed`, 64/16/20 of 100.
    - by images: the parts if there are any; else the images of each class are split 70/10/20 at random by
      `split_seed`, and classes of one or two images are trained on. "trainval" is train and val together, in
      the order of the folders.
    - Of parts that lack val or test, some of train is held out for it, the same for every seed.

    Args:
        path: the folder; `PATH:32` for 32 x 32 pixels, `PATH:32,flip=no` with options.
        size: height = width in pixels; default 84, or what the path says.
        **options: as in the path, which they change; see `folder_names.FolderName`.

    Raises:
        UserError: the size is not between 8 and 1024, or an option is wrong.
    """

    prefix: ClassVar[str] = PREFIX
    path: Path = field(default=Path())
    min_images: int = 1

    def __init__(self, path: str | Path, size: int | None = None, **options: Any) -> None:
        named = parse(str(path), self.prefix)
        named = replace(named, size=named.size if size is None else size).changed(options)
        super().__init__(
            name=f"{self.prefix}{named}",
            properties=ImageProperties(
                size=named.pixels,
                crop_padding=named.padding,
                flip=named.flip,
                jitter=named.jitter,
                fit=cast("Fit", named.fit),
            ),
            origin="it must contain one folder of images per class",
            long_tailed=True,
        )
        object.__setattr__(self, "path", from_home(named.path))
        object.__setattr__(self, "min_images", named.min_images)

    @property
    def changeable(self) -> bool:
        """It is the user's own."""
        return True

    @property
    def listing(self) -> FolderListing:
        """All images: as they were when the data set was pinned, else as they are.

        Raises:
            UserError: the folder does not exist, or its layout is not clear.
        """
        pinned: FolderListing | None = self.__dict__.get("_pinned")
        return self._list() if pinned is None else pinned

    def _list(self) -> FolderListing:
        return list_folder(self.path, self.min_images)

    def pinned(self) -> Folder:
        """See `Dataset.pinned`."""
        found = copy.copy(self)
        object.__setattr__(found, "_pinned", self.listing)
        return found

    @cached_property
    def split_depends_on_seed(self) -> bool:
        """True where neither `splits.csv` nor parts with classes of their own decide."""
        with suppress(UserError):
            return seed_decides(self.listing)
        return True

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split; see `Dataset.load`. By images, val and test may lack small classes."""
        self.check_split(split, by)
        return self._map(data_root).part(split, by, split_seed)

    def checksum(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> str:
        """As `load(...).checksum`; what was prepared is read for it once."""
        self.check_split(split, by)
        prepared = self._map(data_root)
        split_listing(prepared.listing, split, by, split_seed)
        prepared.images()
        kept = prepared.checksum(split, by, split_seed)
        return kept or super().checksum(split, by, data_root, split_seed)

    def class_sizes(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> dict[str, int]:
        """Images of each class of a split, from the names of the files alone; see `Dataset.class_sizes`."""
        self.check_split(split, by)
        listing = self._map(data_root).readable
        _, classes = split_listing(listing, split, by, split_seed)
        counts = np.bincount(classes, minlength=len(listing.class_names)).tolist()
        return {n: c for n, c in zip(listing.class_names, counts, strict=True) if c or by == "images"}

    def image_files(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> list[str]:
        """Paths in the folder; see `Dataset.image_files`."""
        listing = self._map(data_root).readable
        return [listing.images[place] for place in split_listing(listing, split, by, split_seed)[0]]

    def reading_lines(self, by: By, data_root: Path, split_seed: int = 0) -> list[str]:
        """Layout, numbers of images and everything that is left out; see `Dataset.reading_lines`."""
        prepared = self._map(data_root)
        listing = replace(prepared.readable, left_out=prepared.listing.left_out.copy())
        for image in prepared.undecodable:
            listing.left_out.add("pictures that can't be decoded", image)
        return reading_lines(self.name, listing, by, split_seed)

    def ways_to_split(self, split: Split, data_root: Path, split_seed: int = 0) -> tuple[By, ...]:
        """The kinds of split that the listing allows; see `Dataset.ways_to_split`."""
        able: list[By] = []
        for by in super().ways_to_split(split, data_root, split_seed):
            with suppress(UserError):
                self.class_sizes(split, by, data_root, split_seed)
                able.append(by)
        return tuple(able)

    def prepare(
        self, data_root: Path, source: Path | None = None, how: Preparation = IN_THREADS
    ) -> list[Path]:
        """Read, resize and keep all images; returns the memory map.

        Raises:
            UserError: as `load`; also if `source` is given (the path is part of the name).
        """
        if source is not None:
            raise UserError(f"{self.name} names its own folder and takes no source")
        prepared = self._map(data_root)
        if how.skip_bad or not prepared.undecodable:
            prepared.images(how)
        else:
            prepared.convert(how)
        return [prepared.path]

    def left_out(self, data_root: Path) -> dict[str, list[str]]:
        """Images that `prepare` left out, because they can't be decoded."""
        return {_ALL: found} if (found := self._map(data_root).undecodable) else {}

    def not_used(self) -> dict[str, Any]:
        """Kind -> number and names of files that are left out; see `Dataset.not_used`."""
        return self.listing.left_out.record()

    def where(self, data_root: Path) -> Path:
        """The folder itself."""
        del data_root
        return self.path

    def pictures(self, data_root: Path) -> FolderPictures:
        """All images that can be read, with facts on each; they are decoded unless they were before.

        Raises:
            UserError: as `load`.
        """
        prepared = self._map(data_root)
        seeded = seed_decides(prepared.listing)
        return FolderPictures(self.name, self.properties.fit, prepared.facts(), prepared.readable, seeded)

    def remarks(self, data_root: Path, by: By | None = None) -> list[str]:
        """Depth, shape and repetition of the images; see `Dataset.remarks`."""
        return self.pictures(data_root).remarks(by)

    def findings(self, data_root: Path, by: By) -> dict[str, Any]:
        """Range of the values of deep images, and repeated ones."""
        return self.pictures(data_root).findings(by)

    def files(self, data_root: Path) -> list[Path]:
        """The folders of the classes."""
        del data_root
        if not self.path.is_dir():
            return []
        return list(dict.fromkeys((self.path / image).parent for image in self.listing.images))

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare the memory maps with the checksums taken when they were made; images have none."""
        return self._map(data_root).verify()

    def _map(self, data_root: Path) -> FolderMap:
        return FolderMap(self.listing, self.properties.size, self.properties.fit, data_root)


@dataclass(frozen=True)
class FolderMap:
    """The map of a listing's images below `DATA_ROOT/prepared/`, with hashes and facts beside it.

    Args:
        listing: all images of the folder.
        size: height = width in pixels.
        fit: how images become squares.
        data_root: below which the map lies.
        contents: names in the listing -> the content of each image; None: they are files.
    """

    listing: FolderListing
    size: int
    fit: Fit
    data_root: Path
    contents: Callable[[Sequence[str]], Sequence[bytes]] | None = None

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
        seen, names, base = self._seen(), self.listing.images, self.listing.path
        place = "" if self.contents else f"{base}/"
        images = EncodedImages(
            self._encoded(), self.size, self.fit, lambda i: f"{place}{names[i]}", base, depth=seen.depth
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
        index, labels, names = self._chosen(split, by, seed)
        if not len(index):
            raise UserError(
                f"{self.listing.path}: no image is left for {split}, all classes are too small to be split"
            )
        if np.array_equal(index, np.arange(len(prepared))):
            return LabeledImages(prepared.images, labels, names, grey=prepared.grey)
        large = len(index) * prepared.images[0].nbytes > layouts.DIRECT_LIMIT
        pixels = self._large(prepared.images, index) if large else np.asarray(prepared.images)[index]
        return LabeledImages(pixels, labels, names, grey=prepared.grey, may_lack_classes=by == "images")

    def checksum(self, split: Split, by: By, seed: int = 0) -> str | None:
        """The checksum of one split, kept beside the map; None where there is no map.

        Raises:
            UserError: as `split_listing`, or the map is damaged.
        """
        index, labels, names = self._chosen(split, by, seed)
        return kept_checksum(self.folder, _ALL, labels, names, index)

    def _chosen(self, split: Split, by: By, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Positions in the map of the images of a split, their labels, both int64 (n,), and class names.

        By images, all classes of the folder are named; those without an image in the split have no label.
        """
        names = self.listing.class_names
        index, classes = split_listing(self.readable, split, by, seed)
        if by == "images":
            return index, classes, names
        labels, values = relabel(classes)
        return index, labels, tuple(names[value] for value in values)

    def facts(self) -> PictureFacts:
        """Facts on each image of `readable`.

        Raises:
            UserError: as `images`.
        """
        prepared = self.images()
        facts = read_facts(self.folder / f"{_ALL}{FACTS}", len(prepared))
        return facts or self._keep_facts(self._seen(), prepared.images)

    def _keep_facts(self, seen: PictureFacts, images: np.ndarray) -> PictureFacts:
        absent = frozenset(self.undecodable)
        seen = seen.without([i for i, image in enumerate(self.listing.images) if image in absent])
        return keep_facts(self.folder / f"{_ALL}{FACTS}", seen, images)

    def verify(self) -> list[tuple[Path, str]]:
        """Compare the maps with the checksums taken when they were made."""
        names = sorted(path.stem for path in self.folder.glob("*.json"))
        return [(map_path(self.folder, name), verify_map(self.folder, name)) for name in names]

    def _large(self, images: np.ndarray, index: np.ndarray) -> np.ndarray:
        """The pixels of a part that does not fit into memory, from a map of its own."""
        whole = read_description(self.folder, _ALL)
        key = index.tobytes() + (whole.sha256.encode() if whole is not None else b"")
        name = f"part-{hashlib.sha256(key).hexdigest()[:16]}"
        labels, values = relabel(self.readable.labels[index])
        names = tuple(self.listing.class_names[value] for value in values)
        shape = (len(index), self.size, self.size, 3)
        source = SplitSource(shape, labels, names, array_blocks(images, index))
        if open_map(self.folder, name) is None:
            self._write(name, source, IN_THREADS)
        return (open_map(self.folder, name) or source.read()).images

    def _encoded(self) -> Sequence[Path | bytes]:
        names = self.listing.images
        return self.contents(names) if self.contents else [self.listing.path / name for name in names]

    def _seen(self) -> PictureFacts:
        images = self._encoded()
        with terminal_progress(
            f"looking at {len(images):,} images of {self.listing.path}", line=False
        ) as told:
            return seen_of(images, told)

    def _write(self, name: str, source: SplitSource, how: Preparation) -> None:
        origin = Origin("folder", self.listing.path, self.listing.fingerprint)
        with terminal_progress(f"reading {source.shape[0]:,} images of {self.listing.path}") as progress:
            write_map(self.folder, name, source, origin, progress, how)
