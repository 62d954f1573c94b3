"""Data sets with one of several layouts on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from sla_bench.data.base import By, Dataset, LabeledImages, Split
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.kept import HASHES, checksum_of_files, checksum_of_map, fingerprint
from sla_bench.data.preparation import IN_THREADS, Preparation, terminal_progress
from sla_bench.data.prepared import (
    MapDescription,
    Origin,
    description_or_none,
    map_path,
    open_map,
    read_description,
    verify_map,
    write_map,
)
from sla_bench.data.sources import SplitSource
from sla_bench.data.splits import held_out
from sla_bench.errors import UserError

DIRECT_LIMIT = 1_000_000_000
"""Bytes of pixels that `load` reads without a memory map."""


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on disk.

    Args:
        name: whose layout it is, and the files, for messages.
        folders: where below the data root it may lie; "" is the data root itself.
        files: files (or folders of images) of a split below such a folder, whether or not they exist.
        read: reads a split's labels and tells how to get its pixels.
        decoded: the pixels must be decoded from image files, so they are converted once.
        splits: those that it holds.
        is_published: a file has the checksum that its makers published.
        watched: as `files`, for maps to be made again when one of them changes: also the folders in `files`
            that images lie in. None: `files`.
    """

    name: str
    folders: tuple[str, ...]
    files: Callable[[Path, Split], list[Path]]
    read: Callable[[Path, Split], SplitSource]
    decoded: bool = False
    is_published: Callable[[Path], bool] = lambda _: False
    splits: tuple[Split, ...] = SPLITS
    watched: Callable[[Path, Split], list[Path]] | None = None

    def fingerprint(self, base: Path, split: Split) -> str:
        """Changes with the files of a split."""
        return fingerprint((self.watched or self.files)(base, split), base)

    def all_files(self, base: Path) -> list[Path]:
        """Files of all splits, each once."""
        return list(dict.fromkeys(path for split in self.splits for path in self.files(base, split)))

    def absent(self, base: Path) -> list[Path]:
        """Those of them that are not there. A folder does not pass for a file of arrays."""
        return [p for p in self.all_files(base) if not (p.exists() if self.decoded else p.is_file())]


@dataclass(frozen=True)
class LayoutDataset(Dataset):
    """A data set with published splits, read from whichever layout is there.

    The first complete layout is taken; a layout of which only a part is there is an error where no other is
    complete. `prepare` converts to memory maps below `DATA_ROOT/prepared/NAME/` what must be decoded, what is
    larger than 1 GB, and what lies elsewhere (`source`); `load` prefers these maps.

    Args:
        layouts: known layouts, the preferred ones first.
        fetch: downloads the files below the data root; None where the makers offer no direct download.
        validation: "val" is this share of the training images of each class, chosen by `split_seed`, and
            "train" the rest; 0: "val" lies on disk, or does not exist.
    """

    layouts: tuple[Layout, ...] = ()
    fetch: Callable[[Path], None] | None = field(default=None, repr=False)
    validation: float = 0.0

    splits_by: tuple[By, ...] = ("classes",)

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that lie on disk."""
        return self.layouts[0].splits

    def load(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> LabeledImages:
        """Read one split; see `Dataset.load`."""
        self.check_split(split, by)
        divided = split in ("train", "val") and self.validation > 0
        images = self.stored("train" if divided or split == "trainval" else split, data_root)
        if divided and images.class_counts.min() < 2:
            raise UserError(
                f"{self.name}: train and val need at least two training images of each class in {data_root}"
            )
        return held_out(images, split, self.validation, split_seed) if divided else images

    def stored(self, split: Split, data_root: Path) -> LabeledImages:
        """Read a split that lies on disk; errors as `load`."""
        prepared = self._open_prepared(split, data_root)
        if prepared is not None:
            return prepared
        layout, base = self._find(data_root)
        source = layout.read(base, split)
        self._check_count(source, split, base)
        if source.num_bytes > DIRECT_LIMIT:
            raise UserError(
                f"{self.name} {split} has {source.num_bytes / 1e9:.1f} GB of pixels and must be converted "
                f"once: python -m sla_bench datasets prepare {self.name} --data-root {data_root}"
            )
        if layout.decoded:
            self._convert(split, source, layout, base, data_root, IN_THREADS)
            return self._open_prepared(split, data_root) or source.read()
        return source.read()

    def checksum(self, split: Split, by: By, data_root: Path, split_seed: int = 0) -> str:
        """As `load(...).checksum`; a map or the files are read for it once."""
        self.check_split(split, by)
        found = None if any(self._prepared(data_root)) else self._locate(data_root)
        if found is None or found[0].decoded:
            return checksum_of_map(self.load(split, by, data_root, split_seed))
        layout, base = found
        kept = self._folder(data_root).with_name(f"{self._folder(data_root).name}{HASHES}")
        return checksum_of_files(
            kept,
            layout.all_files(base),
            (layout.name, split, by, split_seed),
            lambda: self.load(split, by, data_root, split_seed).checksum,
        )

    def prepare(
        self, data_root: Path, source: Path | None = None, how: Preparation = IN_THREADS
    ) -> list[Path]:
        """Convert once what later loads need, and check everything on the way.

        Args:
            data_root: the folder below which files lie, and below which maps are written.
            source: folder with the files, if they are not below `data_root`.
            how: how images are decoded.

        Returns:
            The maps, or the files themselves where no map is needed.

        Raises:
            UserError: files missing or damaged, folder not writable, disk full, no network for a download.
        """
        if source is None and self.fetch is not None and self._locate(data_root) is None:
            self.fetch(data_root)
        layout, base = self._find(source or data_root, also_root=source is not None)
        if not layout.decoded:
            how.refuse_skip_bad(layout.name)
        paths, folder = [], self._folder(data_root)
        for split in self.splits:
            made = self._made_of(split, layout, base, data_root)
            if made is not None and (how.skip_bad or not made.left_out) and verify_map(folder, split) == "ok":
                paths.append(map_path(folder, split))
                continue
            content = layout.read(base, split)
            self._check_count(content, split, base)
            if source is not None or layout.decoded or content.num_bytes > DIRECT_LIMIT:
                paths.append(self._convert(split, content, layout, base, data_root, how))
            else:
                content.read()
                paths += [path for path in layout.files(base, split) if path not in paths]
        return paths

    def files(self, data_root: Path) -> list[Path]:
        """Maps where they are prepared, else the files of the layout that `load` would use."""
        folder = self._folder(data_root)
        if all(read_description(folder, split) for split in self.splits):
            return [map_path(folder, split) for split in self.splits]
        found = self._locate(data_root)
        return found[0].all_files(found[1]) if found else []

    def left_out(self, data_root: Path) -> dict[str, list[str]]:
        """Images that `prepare` left out of each split, because they can't be decoded."""
        return {split: made.left_out for split, made in self._prepared(data_root) if made.left_out}

    def class_counts(self, data_root: Path) -> dict[Split, np.ndarray]:
        """Images of each class, int64 (C,), of the splits that are prepared."""
        return {split: np.bincount(made.labels) for split, made in self._prepared(data_root)}

    def verify(self, data_root: Path) -> list[tuple[Path, str]]:
        """Compare what lies on disk with published or recorded checksums.

        Files without a checksum are read and held against what the makers promise (shape, classes, images per
        class): "unknown" if they pass. Images that a map was made of are not decoded again.

        Returns:
            Each file or map with its status; empty if nothing is there.
        """
        folder = self._folder(data_root)
        results: list[tuple[Path, str]] = [
            (map_path(folder, split), verify_map(folder, split))
            for split in self.splits
            if (folder / f"{split}.json").exists()
        ]
        found = self._locate(data_root)
        if found is None:
            return results
        layout, base = found
        is_published = cache(layout.is_published)
        states: dict[Path, str] = {}
        for split in self.splits:
            files, status = layout.files(base, split), "unknown"
            known = layout.decoded and self._made_of(split, layout, base, data_root)
            if not known and not all(map(is_published, files)):
                try:
                    content = layout.read(base, split)
                    self._check_count(content, split, base)
                    for _ in content.blocks():
                        pass
                except UserError:
                    status = "bad"
            # Two splits may share a file.
            states |= {p: "ok" if is_published(p) else status for p in files if states.get(p) != "bad"}
        return results + list(states.items())

    def missing(self, data_root: Path) -> UserError:
        """The error for files that are not there, with every layout that would do."""
        names = "; or ".join(layout.name for layout in self.layouts)
        return UserError(f"{self.name}: no files found below {data_root}; {self.origin}. It may be: {names}")

    def _folder(self, data_root: Path) -> Path:
        return data_root / "prepared" / self.name.replace(":", "-")

    def _prepared(self, data_root: Path) -> Iterator[tuple[Split, MapDescription]]:
        """The splits that have a map, with its description."""
        for split in self.splits:
            made = read_description(self._folder(data_root), split)
            if made is not None:
                yield split, made

    def _candidates(self, root: Path, also_root: bool) -> Iterator[tuple[Layout, Path]]:
        for layout in self.layouts:
            folders = (*layout.folders, "") if also_root else layout.folders
            for folder in dict.fromkeys(folders):
                yield layout, root / folder

    def _locate(self, root: Path, also_root: bool = False) -> tuple[Layout, Path] | None:
        complete = (found for found in self._candidates(root, also_root) if not found[0].absent(found[1]))
        return next(complete, None)

    def _find(self, root: Path, also_root: bool = False) -> tuple[Layout, Path]:
        found = self._locate(root, also_root)
        if found is not None:
            return found
        for layout, base in self._candidates(root, also_root):
            parts, absent = len(layout.all_files(base)), layout.absent(base)
            if len(absent) < parts:
                raise UserError(
                    f"{self.name}: {absent[0]} is missing; {parts - len(absent)} of {parts} parts of "
                    f"{layout.name} are there; {self.origin}"
                )
        raise self.missing(root)

    def _check_count(self, source: SplitSource, split: Split, base: Path) -> None:
        expected, found = self.classes[split], len(source.class_names)
        if found != expected:
            other = next((s for s in self.splits if self.classes[s] == found), None)
            hint = f"; it looks like the {other} split" if other else ""
            raise UserError(
                f"{self.name} {split} in {base} must have {expected} classes, found {found}{hint}; "
                f"fetch it again"
            )

    def _open_prepared(self, split: Split, data_root: Path) -> LabeledImages | None:
        folder = self._folder(data_root)
        description = read_description(folder, split)
        if description is None:
            return None
        origin = Path(description.source)
        layout = next((layout for layout in self.layouts if layout.name == description.layout), None)
        if layout is not None and origin.is_dir():
            there = all(path.exists() for path in layout.files(origin, split))
            if there and description.fingerprint != layout.fingerprint(origin, split):
                raise UserError(
                    f"{origin} has changed since {map_path(folder, split)} was made of it: "
                    f"python -m sla_bench datasets prepare {self.name} --data-root {data_root} "
                    f"--source {origin}"
                )
        return open_map(folder, split)

    def _made_of(self, split: Split, layout: Layout, base: Path, data_root: Path) -> MapDescription | None:
        """The description of a map that was made of the files as they are now."""
        made = description_or_none(self._folder(data_root), split)
        return made if made is not None and made.fingerprint == layout.fingerprint(base, split) else None

    def _convert(
        self, split: Split, source: SplitSource, layout: Layout, base: Path, root: Path, how: Preparation
    ) -> Path:
        origin = Origin(layout.name, base, layout.fingerprint(base, split))
        folder = self._folder(root)
        with terminal_progress(f"converting {self.name} {split}: {source.shape[0]:,} images") as progress:
            path = write_map(folder, split, source, origin, progress, how)
        if (made := open_map(folder, split)) is not None:
            checksum_of_map(made)
        return path
