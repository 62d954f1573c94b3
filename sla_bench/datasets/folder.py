"""A user's own images: `folder:PATH` with class folders, parts of class folders, or lists."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.datasets import layouts
from sla_bench.datasets.base import By, Dataset, ImageProperties, LabeledImages, Split
from sla_bench.datasets.encoded_images import EncodedImages
from sla_bench.datasets.folder_listing import FolderListing, list_folder
from sla_bench.datasets.folder_splits import seed_decides, split_listing
from sla_bench.datasets.folder_words import reading_lines
from sla_bench.datasets.map_writing import Origin, write_map
from sla_bench.datasets.memory_map import map_path, open_map, read_description, verify_map
from sla_bench.datasets.preparation import IN_THREADS, Preparation
from sla_bench.datasets.progress import terminal_progress
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

    Pictures lie in `PATH/CLASS/`, or in parts (`PATH/{train,val,test}/CLASS/`, one of val and test may be
    missing, and other names do: `part_names`), or anywhere below where a list names them (`folder_lists`).

    Which images belong to which split:
    - by classes: `PATH/splits.csv` with the columns `class,split` (it may leave classes out); else the parts
      if their classes are disjoint; else the classes are split at random by `split_seed`, 64/16/20 of 100.
    - by images: the parts if there are any; else the images of each class are split 70/10/20 at random by
      `split_seed`, and classes of one or two images are trained on. "trainval" is train and val together, in
      the order of the folders.
    - Of parts that lack val or test, some of train is held out for it, the same for every seed.

    Args:
        path: the folder; `PATH:32` for images of 32 x 32 pixels (`folder:PATH:32` on the command line).
        size: height = width in pixels; default 84, or what the path says.
        min_images: classes of fewer images are left out.

    Raises:
        UserError: the size is not between 8 and 1024, or `min_images` is below 1.
    """

    path: Path = field(default=Path())
    min_images: int = 1

    def __init__(self, path: str | Path, size: int | None = None, min_images: int = 1) -> None:
        text = str(path)
        match = _WITH_SIZE.fullmatch(text)
        if match and not Path(text).exists():
            path, size = match[1], size or int(match[2])
        size = DEFAULT_SIZE if size is None else size
        if not 8 <= size <= 1024:
            raise UserError(f"folder:{text}: images must be 8 to 1024 pixels wide, not {size}")
        if min_images < 1:
            raise UserError(f"folder:{text}: min_images must be at least 1, not {min_images}")
        super().__init__(
            name=f"folder:{text}",
            properties=ImageProperties(
                size=size, crop_padding=max(4, round(size * 8 / 84)), flip=True, jitter=0.4
            ),
            origin="it must contain one folder of images per class",
            long_tailed=True,
        )
        object.__setattr__(self, "path", Path(path).expanduser())
        object.__setattr__(self, "min_images", min_images)

    def pinned(self) -> Folder:
        """See `Dataset.pinned`."""
        found = copy.copy(self)
        object.__setattr__(found, "_listing", self._listed())
        return found

    @cached_property
    def split_depends_on_seed(self) -> bool:
        """True where neither `splits.csv` nor parts with classes of their own decide."""
        with suppress(UserError):
            return seed_decides(self._listed())
        return True

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split; see `Dataset.load`. By images, val and test may lack small classes."""
        self.check_split(split, by)
        listing = self._listed()
        index, classes = split_listing(listing, split, by, split_seed)
        prepared = self._prepared(listing, data_root)
        if len(prepared) < len(listing.images):
            listing = listing.without(self._undecodable(listing, data_root))
            index, classes = split_listing(listing, split, by, split_seed)
        if not len(index):
            raise UserError(
                f"{self.path}: no image is left for {split}, all classes are too small to be split"
            )
        labels, values = relabel(classes)
        names = tuple(listing.class_names[value] for value in values)
        if len(index) == len(listing.images) and np.array_equal(index, np.arange(len(index))):
            return LabeledImages(prepared.images, labels, names, grey=prepared.grey)
        source = SplitSource(
            (len(index), *prepared.images.shape[1:]),
            labels,
            names,
            selected_blocks(prepared.images, index),
        )
        if source.num_bytes > layouts.DIRECT_LIMIT:
            images = self._large_part(source, index, listing, data_root)
        else:
            images = dataclasses.replace(source.read(), grey=prepared.grey)
        if by == "classes" or len(names) == len(listing.class_names):
            return images
        return LabeledImages(
            images.images, classes, listing.class_names, grey=images.grey, may_lack_classes=True
        )

    def class_sizes(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> dict[str, int]:
        """Images of each class of a split, from the names of the files alone; see `Dataset.class_sizes`."""
        self.check_split(split, by)
        listing = self._listed()
        listing = listing.without(self._undecodable(listing, data_root))
        _, classes = split_listing(listing, split, by, split_seed)
        counts = np.bincount(classes, minlength=len(listing.class_names)).tolist()
        return {n: c for n, c in zip(listing.class_names, counts, strict=True) if c or by == "images"}

    def reading_lines(self, by: By, data_root: Path, split_seed: int = 0) -> list[str]:
        """Layout, numbers of images and everything that is left out; see `Dataset.reading_lines`."""
        listing = self._listed()
        undecodable = self._undecodable(listing, data_root)
        listing = listing.without(undecodable)
        listing = dataclasses.replace(listing, left_out=listing.left_out.copy())
        for image in undecodable:
            listing.left_out.add("pictures that can't be decoded", image)
        return reading_lines(self.name, listing, by, split_seed)

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
        listing = self._listed()
        if how.skip_bad or not self.left_out(data_root):
            self._prepared(listing, data_root, how)
        else:
            self._convert(listing, data_root, how)
        return [map_path(self._folder(listing, data_root), _ALL)]

    def left_out(self, data_root: Path) -> dict[str, list[str]]:
        """Images that `prepare` left out, because they can't be decoded."""
        undecodable = self._undecodable(self._listed(), data_root)
        return {_ALL: undecodable} if undecodable else {}

    def not_used(self) -> dict[str, Any]:
        """Kind -> number and names of files that are left out; see `Dataset.not_used`."""
        return self._listed().left_out.record()

    def files(self, data_root: Path) -> list[Path]:
        """The folders of the classes."""
        del data_root
        if not self.path.is_dir():
            return []
        images = (self.path / image for image in self._listed().images)
        return list(dict.fromkeys(image.parent for image in images))

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare the memory maps with the checksums taken when they were made; images have none."""
        folder = self._folder(self._listed(), data_root)
        maps = sorted(path.stem for path in folder.glob("*.json"))
        return [(map_path(folder, name), verify_map(folder, name)) for name in maps]

    def _listed(self) -> FolderListing:
        pinned: FolderListing | None = self.__dict__.get("_listing")
        return list_folder(self.path, self.min_images) if pinned is None else pinned

    def _undecodable(self, listing: FolderListing, data_root: Path) -> list[str]:
        found = read_description(self._folder(listing, data_root), _ALL)
        return found.left_out if found is not None else []

    def _folder(self, listing: FolderListing, data_root: Path) -> Path:
        key = f"{_DECODING} {self.properties.size} {listing.fingerprint} {self.path.resolve()}"
        return data_root / "prepared" / f"folder-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def _prepared(
        self, listing: FolderListing, data_root: Path, how: Preparation = IN_THREADS
    ) -> LabeledImages:
        folder = self._folder(listing, data_root)
        if open_map(folder, _ALL) is None:
            self._convert(listing, data_root, how)
        prepared = open_map(folder, _ALL)
        if prepared is None:
            raise UserError(f"{folder} was deleted while it was read; try again")
        return prepared

    def _convert(self, listing: FolderListing, data_root: Path, how: Preparation) -> None:
        paths = [self.path / image for image in listing.images]
        images = EncodedImages(
            paths, self.properties.size, self.properties.fit, lambda i: str(paths[i]), self.path
        )
        source = decoded_source(images, listing.labels, listing.class_names)
        self._write(_ALL, source, listing, data_root, how)

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
