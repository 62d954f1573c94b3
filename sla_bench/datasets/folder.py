"""A user's own images: `folder:PATH` with `PATH/CLASS/*`, or with `PATH/{train,val,test}/CLASS/*`."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from sla_bench.datasets import layouts
from sla_bench.datasets.base import By, Dataset, ImageProperties, LabeledImages, Split
from sla_bench.datasets.encoded_images import EncodedImages
from sla_bench.datasets.folder_splits import (
    SPLITS_FILE,
    FolderListing,
    is_divided,
    list_folder,
    parts_share_classes,
    split_listing,
)
from sla_bench.datasets.image_files import what_is_no_image
from sla_bench.datasets.kept_hashes import kept_checksum
from sla_bench.datasets.map_writing import Origin, write_map
from sla_bench.datasets.memory_map import map_path, open_map, read_description, remove_map, verify_map
from sla_bench.datasets.preparation import IN_THREADS, Preparation
from sla_bench.datasets.progress import note, terminal_progress
from sla_bench.datasets.source_files import SourceFiles, stamps_of
from sla_bench.datasets.sources import SplitSource, decoded_source, relabel, selected_blocks
from sla_bench.errors import UserError

DEFAULT_SIZE = 84
_DECODING = 2  # counts up when the same file would become other pixels
_ALL = "all"
_WITH_SIZE = re.compile(r"(.+):(\d+)")


@dataclass(frozen=True, init=False)
class Folder(Dataset):
    """Images in one folder per class, of any size and kind.

    Images are scaled once so that the shorter side fits, cut to the central square, and kept as a memory map
    below `DATA_ROOT/prepared/`; when a file is added, removed or changed they are read again.

    Which images belong to which split:
    - by classes: `PATH/splits.csv` with the columns `class,split` (it may leave classes out); else
      `PATH/{train,val,test}/CLASS/` if their classes are disjoint; else the classes are split at random by
      `split_seed`, 64/16/20 of 100.
    - by images: `PATH/{train,val,test}/CLASS/` if it is there; else the images of each class are split
      70/10/20 at random by `split_seed`. "trainval" is train and val together, in the order of the folders.

    Args:
        path: the folder; `PATH:32` for images of 32 x 32 pixels (`folder:PATH:32` on the command line).
        size: height = width in pixels; default 84, or what the path says.

    Raises:
        UserError: the size is not between 8 and 1024.
    """

    path: Path = field(default=Path())

    def __init__(self, path: str | Path, size: int | None = None) -> None:
        text = str(path)
        match = _WITH_SIZE.fullmatch(text)
        if match and not Path(text).exists():
            path, size = match[1], size or int(match[2])
        size = DEFAULT_SIZE if size is None else size
        if not 8 <= size <= 1024:
            raise UserError(f"folder:{text}: images must be 8 to 1024 pixels wide, not {size}")
        super().__init__(
            name=f"folder:{text}",
            properties=ImageProperties(
                size=size, crop_padding=max(4, round(size * 8 / 84)), flip=True, jitter=0.4
            ),
            origin="it must contain one folder of images per class",
            long_tailed=True,
        )
        object.__setattr__(self, "path", Path(path).expanduser())

    @property
    def changeable(self) -> bool:
        """It is the user's own."""
        return True

    @property
    def split_depends_on_seed(self) -> bool:
        """True where neither `splits.csv` nor train, val and test with classes of their own decide."""
        if (self.path / SPLITS_FILE).exists():
            return False
        return not is_divided(self.path) or parts_share_classes(self.path)

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split; see `Dataset.load`."""
        self.check_split(split, by)
        listing = list_folder(self.path)
        split_listing(listing, split, by, split_seed)
        prepared = self._prepared(listing, data_root)
        listing = self._decodable(listing, data_root, len(prepared))
        index, labels, names = _part(listing, split, by, split_seed)
        if len(index) == len(listing.images) and np.array_equal(index, np.arange(len(index))):
            return LabeledImages(prepared.images, labels, names, grey=prepared.grey)
        source = SplitSource(
            (len(index), *prepared.images.shape[1:]),
            labels,
            names,
            selected_blocks(prepared.images, index),
        )
        if source.num_bytes > layouts.DIRECT_LIMIT:
            return self._large_part(source, index, listing, data_root)
        images = source.read().images
        return LabeledImages(images, labels, names, grey=prepared.grey)

    def checksum(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> str:
        """As `load(...).checksum`; what was prepared is read for it once."""
        self.check_split(split, by)
        listing = list_folder(self.path)
        split_listing(listing, split, by, split_seed)
        prepared = self._prepared(listing, data_root)
        folder = self._folder(listing, data_root)
        listing = self._decodable(listing, data_root, len(prepared))
        kept = _checksum(folder, listing, split, by, split_seed)
        return kept or super().checksum(split, by, data_root, split_seed)

    def prepare(
        self, data_root: Path, source: Path | None = None, how: Preparation = IN_THREADS
    ) -> list[Path]:
        """Read, resize and keep all images.

        Returns:
            The memory map.

        Raises:
            UserError: as `load`; also if `source` is given (the path is part of the name).
        """
        if source is not None:
            raise UserError(f"{self.name} names its own folder and takes no source")
        listing = list_folder(self.path)
        if how.skip_bad or not self.left_out(data_root):
            self._prepared(listing, data_root, how)
        else:
            self._convert(listing, data_root, how)
        return [map_path(self._folder(listing, data_root), _ALL)]

    def left_out(self, data_root: Path) -> dict[str, list[str]]:
        """Images that `prepare` left out, because they can't be decoded."""
        found = read_description(self._folder(list_folder(self.path), data_root), _ALL)
        return {_ALL: found.left_out} if found is not None and found.left_out else {}

    def where(self, data_root: Path) -> Path:
        """The folder itself."""
        del data_root
        return self.path

    def files(self, data_root: Path) -> list[Path]:
        """The folders of the classes."""
        del data_root
        if not self.path.is_dir():
            return []
        images = (self.path / image for image in list_folder(self.path).images)
        return list(dict.fromkeys(image.parent for image in images))

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare the memory maps with the checksums taken when they were made; images have none."""
        folder = self._folder(list_folder(self.path), data_root)
        maps = sorted(path.stem for path in folder.glob("*.json"))
        return [(map_path(folder, name), verify_map(folder, name)) for name in maps]

    def _folder(self, listing: FolderListing, data_root: Path) -> Path:
        key = f"{_DECODING} {self.properties.size} {listing.fingerprint} {self.path.resolve()}"
        return data_root / "prepared" / f"folder-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def _prepared(
        self, listing: FolderListing, data_root: Path, how: Preparation = IN_THREADS
    ) -> LabeledImages:
        folder = self._folder(listing, data_root)
        if open_map(folder, _ALL) is not None and not self._files(folder).unchanged(_paths(listing)):
            remove_map(folder, _ALL)
        if open_map(folder, _ALL) is None:
            self._convert(listing, data_root, how)
        prepared = open_map(folder, _ALL)
        if prepared is None:
            raise UserError(f"{folder} was deleted while it was read; try again")
        return prepared

    def _convert(self, listing: FolderListing, data_root: Path, how: Preparation) -> None:
        paths = _paths(listing)
        before = stamps_of(paths)
        images = EncodedImages(
            paths, self.properties.size, self.properties.fit, lambda i: str(paths[i]), self.path
        )
        aside = what_is_no_image(dict.fromkeys(path.parent for path in paths))
        if aside:
            note(f"in the class folders of {self.path} lie things that are no images here, left out: {aside}")
        source = decoded_source(images, listing.labels, listing.class_names)
        self._write(_ALL, source, listing, data_root, how)
        folder = self._folder(listing, data_root)
        self._files(folder).keep(paths, before)
        made = read_description(folder, _ALL)
        readable = self._decodable(listing, data_root, made.shape[0] if made else len(paths))
        for by, split in itertools.product(get_args(By), get_args(Split)):
            # So that no later command reads pixels for them; not every folder has every kind of split.
            with contextlib.suppress(UserError):
                self.check_split(split, by)
                _checksum(folder, readable, split, by, seed=0)

    def _large_part(
        self, source: SplitSource, index: np.ndarray, listing: FolderListing, data_root: Path
    ) -> LabeledImages:
        folder = self._folder(listing, data_root)
        whole = read_description(folder, _ALL)
        key = index.tobytes() + (whole.sha256.encode() if whole is not None else b"")
        name = f"part-{hashlib.sha256(key).hexdigest()[:16]}"
        if open_map(folder, name) is None:
            self._write(name, source, listing, data_root, IN_THREADS)
        return open_map(folder, name) or source.read()

    def _write(
        self, name: str, source: SplitSource, listing: FolderListing, data_root: Path, how: Preparation
    ) -> None:
        origin = Origin("folder", self.path, listing.fingerprint)
        with terminal_progress(f"reading {source.shape[0]:,} images of {self.path}") as progress:
            write_map(self._folder(listing, data_root), name, source, origin, progress, how)

    def _decodable(self, listing: FolderListing, data_root: Path, count: int) -> FolderListing:
        """The listing of the images that were prepared, `count` in number."""
        if count == len(listing.images):
            return listing
        return listing.without(self.left_out(data_root)[_ALL])

    @staticmethod
    def _files(folder: Path) -> SourceFiles:
        return SourceFiles(folder, _ALL)


def _paths(listing: FolderListing) -> list[Path]:
    return [listing.path / image for image in listing.images]


def _part(
    listing: FolderListing, split: Split, by: By, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Positions of the images of a split, their labels, both int64 (n,), and the names of its classes."""
    index, classes = split_listing(listing, split, by, seed)
    labels, values = relabel(classes)
    return index, labels, tuple(listing.class_names[value] for value in values)


def _checksum(folder: Path, listing: FolderListing, split: Split, by: By, seed: int) -> str | None:
    index, labels, names = _part(listing, split, by, seed)
    return kept_checksum(folder, _ALL, labels, names, index)
