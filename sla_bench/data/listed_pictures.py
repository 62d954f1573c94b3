"""Lists of pictures become pictures with class and part."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sla_bench.data.base import Split
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder_lists import SPLITS_FILE, PictureList, Row, normalized
from sla_bench.data.left_out import LeftOut
from sla_bench.data.part_names import part_of
from sla_bench.data.picture_folders import PictureFolder
from sla_bench.data.picture_index import PictureIndex
from sla_bench.errors import UserError

_ORDER: dict[Split | None, int] = {part: place for place, part in enumerate((None, *SPLITS))}


class ListedPicture(NamedTuple):
    """A picture, the name of its class, and its part, if there are parts."""

    path: Path
    label: str
    part: Split | None


def read_lists(
    top: PictureFolder, lists: list[PictureList], account: LeftOut
) -> tuple[list[ListedPicture], list[Path]] | None:
    """Read the lists that go together, and find their pictures.

    Where a list has no labels, the folder of a picture names its class.

    Args:
        top: the folder that was named.
        lists: all that lie in it.
        account: gets the pictures that the lists do not name, and rows without a label.

    Returns:
        The pictures by part, class and path, and the lists that were read; None where no list gives classes.

    Raises:
        UserError: a picture that is missing, named ambiguously or with two labels; or no training list.
    """
    images = list(top.walk(links=True))
    index = PictureIndex(images, top.path)
    usable = [one for one in lists if one.has_labels or _lists_class_folders(one, index)]
    chosen = _chosen([one for one in usable if any(index.find(r.file) for r in one.rows)] or usable, top.path)
    if not chosen:
        return None
    found: dict[Path, tuple[str, Split | None, str]] = {}
    for one in chosen:
        _find(one, index, found, account, top.path)
    for one in lists:
        if one not in chosen:
            account.add("lists that are not read", one.path.name)
    names = " and ".join(one.path.name for one in chosen)
    for image in images:
        if image not in found:
            account.add(f"pictures that {names} does not name", str(image.relative_to(top.path)))
    parts = {part for _, part, _ in found.values()}
    if parts == {"train"}:
        found = {image: (label, None, place) for image, (label, _, place) in found.items()}
    elif None not in parts and "train" not in parts:
        raise UserError(f"{names} in {top.path} names no training picture, only {', '.join(map(str, parts))}")
    found = _named_by_folder(found)
    pictures = [ListedPicture(image, label, part) for image, (label, part, _) in found.items()]
    pictures.sort(key=lambda one: (_ORDER[one.part], one.label, str(one.path)))
    return pictures, [one.path for one in chosen]


def _lists_class_folders(one: PictureList, index: PictureIndex) -> bool:
    """The listed pictures lie in at least two folders, none of which is a part."""
    names = {image.parent.name for row in one.rows for image in index.find(row.file, row.split or one.part)}
    return len(names) > 1 and not any(map(part_of, names))


def _chosen(lists: list[PictureList], folder: Path) -> list[PictureList]:
    """`splits.csv`, else the lists of the parts, else the one list."""
    own = [one for one in lists if one.path.name.lower() == SPLITS_FILE]
    by_part = [one for one in lists if one.part is not None]
    if own:
        return own
    if len({one.part for one in by_part}) > 1 or not [one for one in lists if one.part is None]:
        doubled = [one for one in by_part if sum(o.part == one.part for o in by_part) > 1]
        if doubled:
            names = " and ".join(one.path.name for one in doubled)
            raise UserError(f"{folder}: {names} both list the part {doubled[0].part}; keep one")
        return sorted(by_part, key=lambda one: _ORDER[one.part])
    rest = [one for one in lists if one.part is None]
    rest = [one for one in rest if one.has_splits] or rest
    if len(rest) > 1:
        names = " and ".join(one.path.name for one in rest)
        raise UserError(f"{folder}: {names} both list pictures; keep one")
    return rest


def _find(
    one: PictureList,
    index: PictureIndex,
    found: dict[Path, tuple[str, Split | None, str]],
    account: LeftOut,
    folder: Path,
) -> None:
    missing: list[Row] = []
    for row in one.rows:
        images = index.find(row.file, row.split or one.part)
        if not images:
            missing.append(row)
            continue
        if len(images) > 1:
            raise UserError(
                f"{row.place} names {row.file!r}, which can be {images[0]} or {images[1]}; write the "
                "folder, too"
            )
        label = normalized(images[0].parent.name) if row.label is None else row.label
        if not label:
            account.add(f"pictures without a label in {one.path.name}", str(images[0].relative_to(folder)))
            continue
        split = row.split or one.part
        first = found.setdefault(images[0], (label, split, row.place))
        if first[:2] != (label, split):
            raise UserError(
                f"{row.place} names {row.file!r} as {label!r}{f' in {split}' if split else ''}, but "
                f"{first[2]} as {first[0]!r}{f' in {first[1]}' if first[1] else ''}"
            )
    if missing:
        raise UserError(
            f"{missing[0].place} names {missing[0].file!r}, which is not among the pictures below {folder} "
            f"({len(missing):,} of {len(one.rows):,} are missing)"
        )


def _named_by_folder(
    found: dict[Path, tuple[str, Split | None, str]],
) -> dict[Path, tuple[str, Split | None, str]]:
    """Numbers become names of folders, where each number has one folder and each folder one number."""
    if not all(label.isdecimal() for label, *_ in found.values()):
        return found
    pairs = {(label, normalized(image.parent.name)) for image, (label, *_) in found.items()}
    names = dict(pairs)
    if not len(pairs) == len(names) == len(set(names.values())):
        return found
    return {image: (names[label], part, place) for image, (label, part, place) in found.items()}
