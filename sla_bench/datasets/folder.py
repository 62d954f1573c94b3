"""A user's own images: `folder:PATH` with `PATH/CLASS/*`, or with `PATH/{train,val,test}/CLASS/*`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from sla_bench.datasets.base import By, Dataset, Fit, ImageProperties, LabeledImages, Split
from sla_bench.datasets.folder_map import FolderMap
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
from sla_bench.datasets.preparation import IN_THREADS, Preparation
from sla_bench.errors import UserError

_ALL = "all"


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
        return self._map(data_root).part(split, by, split_seed)

    def checksum(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> str:
        """As `load(...).checksum`; what was prepared is read for it once."""
        self.check_split(split, by)
        prepared = self._map(data_root)
        split_listing(prepared.listing, split, by, split_seed)
        prepared.images()
        kept = prepared.checksum(split, by, split_seed)
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

    def where(self, data_root: Path) -> Path:
        """The folder itself."""
        del data_root
        return self.path

    def pictures(self, data_root: Path, listing: FolderListing | None = None) -> FolderPictures:
        """All images that can be read, with facts on each; they are decoded unless they were before.

        Args:
            data_root: as `load`.
            listing: of the folder; None lists it.

        Raises:
            UserError: as `load`.
        """
        prepared = self._map(data_root, listing)
        facts = prepared.facts()
        return FolderPictures(
            self.name, self.properties.fit, facts, prepared.readable, self.split_depends_on_seed
        )

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
        return self._map(data_root).verify()

    def _map(self, data_root: Path, listing: FolderListing | None = None) -> FolderMap:
        listing = listing or list_folder(self.path)
        return FolderMap(listing, self.properties.size, self.properties.fit, data_root)
