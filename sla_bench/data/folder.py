"""A user's images: `folder:PATH` with class folders, parts, or lists."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from sla_bench.data.base import By, Dataset, Fit, ImageProperties, LabeledImages, Split
from sla_bench.data.folder_listing import FolderListing, list_folder
from sla_bench.data.folder_map import FolderMap
from sla_bench.data.folder_names import PREFIX, parse
from sla_bench.data.folder_pictures import FolderPictures
from sla_bench.data.folder_splits import reading_lines, seed_decides, split_listing
from sla_bench.data.preparation import IN_THREADS, Preparation
from sla_bench.errors import UserError
from sla_bench.paths import from_home

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
        path: the folder; `PATH:32` for images of 32 x 32 pixels, `PATH:32,flip=no` with options
            (`folder:PATH:32,flip=no` on the command line).
        size: height = width in pixels; default 84, or what the path says.
        **options: as in the path, which they change; see `folder_names.FolderName`.

    Raises:
        UserError: the size is not between 8 and 1024, or an option is wrong.
    """

    path: Path = field(default=Path())
    min_images: int = 1

    def __init__(self, path: str | Path, size: int | None = None, **options: Any) -> None:
        named = parse(str(path))
        named = replace(named, size=named.size if size is None else size).changed(options)
        super().__init__(
            name=f"{PREFIX}{named}",
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
        return list_folder(self.path, self.min_images) if pinned is None else pinned

    def pinned(self) -> Folder:
        """See `Dataset.pinned`."""
        found = copy.copy(self)
        object.__setattr__(found, "_pinned", self.listing)
        return found

    @cached_property
    def split_depends_on_seed(self) -> bool:
        """True where neither `splits.csv` nor parts with classes of their own decide."""
        with suppress(UserError):
            return _seed_decides(self.listing)
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
        """Read, resize and keep all images.

        Returns:
            The memory map.

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
        undecodable = self._map(data_root).undecodable
        return {_ALL: undecodable} if undecodable else {}

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
        seeded = _seed_decides(prepared.listing)
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
        images = (self.path / image for image in self.listing.images)
        return list(dict.fromkeys(image.parent for image in images))

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare the memory maps with the checksums taken when they were made; images have none."""
        return self._map(data_root).verify()

    def _map(self, data_root: Path) -> FolderMap:
        return FolderMap(self.listing, self.properties.size, self.properties.fit, data_root)


def _seed_decides(listing: FolderListing) -> bool:
    """As `seed_decides`; True where `splits.csv` cannot be read."""
    with suppress(UserError):
        return seed_decides(listing)
    return True
