"""All pictures that a folder gives, with their classes and parts."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder_lists import ListedPicture
from sla_bench.data.folder_tree import LeftOut
from sla_bench.data.kept import fingerprint
from sla_bench.errors import UserError
from sla_bench.words import names_below


@dataclass(frozen=True)
class FolderListing:
    """All images of a folder.

    Args:
        path: the folder.
        images: paths relative to it, by part, class and name.
        labels: class of each image, int64 (N,), 0..C-1.
        class_names: C names, ascending.
        parts: for each image the position of its part in ("train", "val", "test"), int64 (N,); None where
            the folder is not divided.
        fingerprint: of the files, see `kept.fingerprint`.
        seen: the layout in words.
        left_out: account of everything that is not used.
        unread: sentences about lists that were not read.
        small: classes that are left out for want of images.
    """

    path: Path
    images: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    parts: np.ndarray | None
    fingerprint: str
    seen: str
    left_out: LeftOut
    unread: tuple[str, ...] = ()
    small: tuple[str, ...] = ()

    def without(self, images: Collection[str]) -> FolderListing:
        """The listing without some images; all classes stay, and so does the fingerprint."""
        absent = frozenset(images)
        return self._kept(np.array([image not in absent for image in self.images]))

    def classes_of_parts(self) -> dict[int, set[int]]:
        """Labels of each part that has images, by the position of the part."""
        assert self.parts is not None
        found = ((part, self.labels[self.parts == part]) for part in range(len(SPLITS)))
        return {part: set(np.unique(labels).tolist()) for part, labels in found if len(labels)}

    def _kept(self, kept: np.ndarray) -> FolderListing:
        return replace(
            self,
            images=tuple(image for image, keep in zip(self.images, kept, strict=True) if keep),
            labels=self.labels[kept],
            parts=None if self.parts is None else self.parts[kept],
        )

    def of_large_classes(self, min_images: int) -> FolderListing:
        """The listing without the classes of fewer than `min_images` images, which the account names.

        Raises:
            UserError: no class is left.
        """
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        if counts.min() >= min_images:
            return self
        large = np.flatnonzero(counts >= min_images)
        if not len(large):
            raise UserError(
                f"{self.path}: no class has {min_images} images, the largest has {counts.max()}; take a "
                "smaller min_images"
            )
        account = self.left_out.copy()
        small = {self.class_names[label]: int(counts[label]) for label in np.flatnonzero(counts < min_images)}
        for name, count in small.items():
            account.add(f"pictures of classes with fewer than {min_images}", name, count)
        listing = self._kept(np.isin(self.labels, large))
        return replace(
            listing,
            labels=np.searchsorted(large, listing.labels).astype(np.int64),
            class_names=tuple(self.class_names[label] for label in large),
            left_out=account,
            small=tuple(small),
        )


def listing_of(
    path: Path,
    pictures: Sequence[ListedPicture],
    seen: str,
    left_out: LeftOut,
    lists: Sequence[Path] = (),
    unread: Sequence[str] = (),
) -> FolderListing:
    """The listing of pictures that are sorted.

    Args:
        path: the folder.
        pictures: at least one, by part, class and path.
        seen: as in `FolderListing`.
        left_out: as in `FolderListing`.
        lists: those that were read; a change of them changes the fingerprint.
        unread: as in `FolderListing`.

    Raises:
        UserError: the name of a class is not UTF-8, as tables and records are.
    """
    names = sorted({picture.label for picture in pictures})
    for name in names:
        if os.fsencode(name) != name.encode(errors="replace"):
            raise UserError(f"{path}: the name of the class {name!r} is not UTF-8; give the folder another")
    position = {name: label for label, name in enumerate(names)}
    parts = [SPLITS.index(picture.part) for picture in pictures if picture.part]
    files = [*(picture.path for picture in pictures), *lists]
    return FolderListing(
        path,
        tuple(names_below(files[: len(pictures)], path)),
        np.array([position[picture.label] for picture in pictures], dtype=np.int64),
        tuple(names),
        np.array(parts, dtype=np.int64) if parts else None,
        fingerprint(files, path),
        seen,
        left_out,
        tuple(unread),
    )
