"""A user's own images: `folder:PATH` with `PATH/CLASS/*`, or with `PATH/{train,val,test}/CLASS/*`."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from sla_bench.datasets import layouts
from sla_bench.datasets.base import By, Dataset, Fit, ImageProperties, LabeledImages, Split
from sla_bench.datasets.encoded_images import EncodedImages
from sla_bench.datasets.folder_names import PREFIX, parse
from sla_bench.datasets.folder_pictures import FolderPictures
from sla_bench.datasets.folder_splits import (
    SPLITS_FILE,
    FolderListing,
    is_divided,
    list_folder,
    parts_share_classes,
    split_listing,
)
from sla_bench.datasets.image_files import what_is_no_image
from sla_bench.datasets.map_writing import Origin, write_map
from sla_bench.datasets.memory_map import map_path, open_map, read_description, verify_map
from sla_bench.datasets.picture_facts import PictureFacts, read_facts, seen_of, with_hashes, write_facts
from sla_bench.datasets.preparation import IN_THREADS, Preparation
from sla_bench.datasets.progress import note, terminal_progress
from sla_bench.datasets.sources import SplitSource, decoded_source, relabel, selected_blocks
from sla_bench.errors import UserError

_DECODING = 3  # counts up when the same file would become other pixels
_ALL = "all"
_FACTS = "all.facts.npz"


@dataclass(frozen=True, init=False)
class Folder(Dataset):
    """Images in one folder per class, of any size and kind.

    Images are scaled once so that the shorter side fits, cut to the central square (or fitted as the option
    `fit` says), and kept as a memory map below `DATA_ROOT/prepared/`; when a file is added, removed or
    changed they are read again.

    Which images belong to which split:
    - by classes: `PATH/splits.csv` with the columns `class,split` (it may leave classes out); else
      `PATH/{train,val,test}/CLASS/` if their classes are disjoint; else the classes are split at random by
      `split_seed`, 64/16/20 of 100.
    - by images: `PATH/{train,val,test}/CLASS/` if it is there; else the images of each class are split
      70/10/20 at random by `split_seed`. "trainval" is train and val together, in the order of the folders.

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
        object.__setattr__(self, "path", Path(named.path).expanduser())
        object.__setattr__(self, "min_images", named.min_images)

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
        # Refused before an hour is spent on decoding.
        split_listing(listing, split, by, split_seed)
        prepared, listing = self._readable(listing, data_root)
        index, classes = split_listing(listing, split, by, split_seed)
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
            return self._large_part(source, index, listing, data_root)
        images = source.read().images
        return LabeledImages(images, labels, names, grey=prepared.grey)

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

    def pictures(self, data_root: Path, listing: FolderListing | None = None) -> FolderPictures:
        """All images that can be read, with facts on each; they are decoded unless they were before.

        Args:
            data_root: as `load`.
            listing: of the folder; None lists it.

        Raises:
            UserError: as `load`.
        """
        prepared, listing = self._readable(listing or list_folder(self.path), data_root)
        path = self._folder(listing, data_root) / _FACTS
        facts = read_facts(path, len(prepared))
        if facts is None:
            facts = with_hashes(self._seen(listing), prepared.images)
            # Where only the map could be written, once.
            with suppress(UserError):
                write_facts(path, facts)
        return FolderPictures(self.name, self.properties.fit, facts, listing, self.split_depends_on_seed)

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
        images = (self.path / image for image in list_folder(self.path).images)
        return list(dict.fromkeys(image.parent for image in images))

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare the memory maps with the checksums taken when they were made; images have none."""
        folder = self._folder(list_folder(self.path), data_root)
        maps = sorted(path.stem for path in folder.glob("*.json"))
        return [(map_path(folder, name), verify_map(folder, name)) for name in maps]

    def _folder(self, listing: FolderListing, data_root: Path) -> Path:
        fit = self.properties.fit
        key = f"{_DECODING} {self.properties.size} {fit} {listing.fingerprint} {self.path.resolve()}"
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

    def _readable(self, listing: FolderListing, data_root: Path) -> tuple[LabeledImages, FolderListing]:
        """The map of all images, and the listing of those that are in it."""
        prepared = self._prepared(listing, data_root)
        if len(prepared) < len(listing.images):
            listing = listing.without(self.left_out(data_root)[_ALL])
        return prepared, listing

    def _seen(self, listing: FolderListing) -> PictureFacts:
        what = f"looking at {len(listing.images):,} images of {self.path}"
        with terminal_progress(what, line=False) as progress:
            return seen_of([self.path / image for image in listing.images], progress)

    def _convert(self, listing: FolderListing, data_root: Path, how: Preparation) -> None:
        paths = [self.path / image for image in listing.images]
        seen = self._seen(listing)
        size, fit = self.properties.size, self.properties.fit
        images = EncodedImages(paths, size, fit, lambda i: str(paths[i]), self.path, seen.depth)
        aside = what_is_no_image(dict.fromkeys(path.parent for path in paths))
        if aside:
            note(f"in the class folders of {self.path} lie things that are no images here, left out: {aside}")
        source = decoded_source(images, listing.labels, listing.class_names)
        self._write(_ALL, source, listing, data_root, how)
        folder = self._folder(listing, data_root)
        made, absent = open_map(folder, _ALL), frozenset(self.left_out(data_root).get(_ALL, ()))
        if made is not None:
            seen = seen.without([i for i, image in enumerate(listing.images) if image in absent])
            write_facts(folder / _FACTS, with_hashes(seen, made.images))

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
