"""Layouts of a folder: class folders, parts with class folders, or lists."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sla_bench.data.base import Split
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder_listing import FolderListing, listing_of
from sla_bench.data.folder_lists import ListedPicture, PictureList, find_lists, normalized, read_lists
from sla_bench.data.folder_tree import (
    BELOW_CLASSES,
    BESIDE_CLASSES,
    EMPTY_CLASSES,
    UNREAD_FOLDERS,
    LeftOut,
    PictureFolder,
    part_of,
    roles,
)
from sla_bench.data.images import EXTENSIONS
from sla_bench.errors import UserError
from sla_bench.words import nearest_path

_DEPTH = 3
_SHOWN = 4
_MOST_FOLDERS = 2000
_OWN_FOLDERS = "; put the images of each class into a folder of its own"


def would_work(path: Path) -> bool:
    """At least two class folders, or two parts with class folders, lie directly in a folder."""
    folder = PictureFolder(path)
    if sum(bool(inside.images) for inside in folder.folders) > 1:
        return len(set(roles(f.name for f in folder.folders if f.images).values())) < 2
    by_name = {inside.name: inside for inside in folder.folders}
    classed = [name for name in roles(by_name) if any(f.images for f in by_name[name].folders)]
    return len({part_of(name) for name in classed}) > 1


def no_classes(folder: PictureFolder) -> UserError:
    """Say that a folder has no class folders, what is there, and which folders would work."""
    path, images = folder.path, folder.images
    if images:
        above = _above(path)
        where = f"; did you mean folder:{above}?" if above else _OWN_FOLDERS
        return UserError(f"{path} has no classes; {len(images):,} images lie in it directly{where}")
    below = _below(folder)
    if len(below) == 1:
        return UserError(
            f"{path} has no classes: no pictures lie directly in its folders; did you mean folder:{below[0]}?"
        )
    if below:
        shown = ", ".join(f"folder:{one}" for one in below[:_SHOWN])
        more = f" and {len(below) - _SHOWN:,} more" if len(below) > _SHOWN else ""
        return UserError(
            f"{path} has no classes: pictures lie one level deeper, as if its folders were superclasses; "
            f"take one of {shown}{more}, or move all classes up into {path}"
        )
    inside = [f"{f.name}/{g.name}" for f in folder.folders for g in f.folders if g.images]
    if inside:
        return UserError(
            f"{path} has no classes: pictures lie one level deeper, in {', '.join(inside[:_SHOWN])}; if "
            f"these are classes move them up into {path}"
        )
    empty = [f.name for f in folder.folders]
    if empty:
        return UserError(
            f"{path} has no classes: its folders ({', '.join(empty[:_SHOWN])}) are empty, they hold no "
            f"pictures that can be read"
        )
    return UserError(f"{path} has no classes{_OWN_FOLDERS}")


def _below(folder: PictureFolder) -> list[Path]:
    """The highest folders below that would work."""
    found: list[Path] = []
    level = [f for f in folder.folders if not f.path.is_symlink()]
    for _ in range(_DEPTH):
        works = [f for f in level if would_work(f.path)]
        found += [f.path for f in works]
        if found or len(level) > _MOST_FOLDERS:
            break
        level = [g for f in level for g in f.folders if not g.path.is_symlink()]
    return found


def _above(path: Path) -> Path | None:
    """The folder above that would work: one with parts before one with classes, or one with a list."""
    if path.name in ("", ".."):
        return None
    found = None
    for above in list(path.parents)[:2]:
        with suppress(UserError, OSError):
            is_part = found is not None and part_of(found.name) is not None
            if (found is None or is_part) and (
                would_work(above) or (above == path.parent and find_lists(above))
            ):
                found = above
    return found


_DOCUMENTS = frozenset(f".{kind} files" for kind in (
    "txt", "md", "csv", "tsv", "json", "xml", "yaml", "yml", "html", "pdf", "log", "ini", "db", "py",
))  # fmt: skip
CLASS_FOLDERS = "class folders"
_NEVER_CLASSES = frozenset({"val", "valid", "validation", "test", "testing"})


def list_folder(path: Path, min_images: int = 1) -> FolderListing:
    """List classes and images.

    Lists decide where they name splits or where no class folders are there; class folders decide elsewhere.

    Args:
        path: the folder.
        min_images: classes of fewer images are left out.

    Raises:
        UserError: the folder does not exist, a class has no images, or the layout is not clear; with the
            nearest path that would work where one is known.
    """
    if not path.is_dir():
        what, near = ("is a file", "") if path.exists() else ("does not exist", nearest_path(path))
        raise UserError(f"the folder {path} {what}; folder:PATH needs PATH/CLASS/image.jpg{near}")
    return _recognised(path).of_large_classes(min_images)


def _recognised(path: Path) -> FolderListing:
    top = PictureFolder(path)
    parts = _parts(top)
    classes = _class_names(parts.values() if parts else (top,))
    lists = find_lists(path, strict=len(classes) < 2)
    splits_of_lists = any(one.has_splits for one in lists) or len({one.part for one in lists} - {None}) > 1
    if lists and (splits_of_lists or len(classes) < 2):
        listed = _from_lists(top, lists, path)
        if listed is not None:
            return listed
    elif lists:
        # A list that repeats the folders need not be complete.
        with suppress(UserError):
            listed = _from_lists(top, lists, path)
            if listed is not None and not classes.intersection(listed.class_names):
                return listed
    account = LeftOut()
    if parts:
        pictures, seen = _divided(top, parts, path, account)
    else:
        pictures, seen = _of_classes(top, path, account, None), CLASS_FOLDERS
    account.add_folders(UNREAD_FOLDERS, top.unread_folders, path)
    unread = [f"{one.path} is not read: the class folders decide" for one in lists]
    return listing_of(path, pictures, seen, account, unread=unread)


def _class_names(folders: Iterable[PictureFolder]) -> set[str]:
    return {normalized(inside.name) for folder in folders for inside in folder.folders if inside.images}


def _from_lists(top: PictureFolder, lists: list[PictureList], path: Path) -> FolderListing | None:
    account = LeftOut()
    found = read_lists(top, lists, account)
    if found is None:
        return None
    pictures, used = found
    account.add_folders(UNREAD_FOLDERS, top.unread_folders, path)
    return listing_of(path, pictures, " and ".join(one.name for one in used), account, used)


def _parts(top: PictureFolder) -> dict[Split, PictureFolder] | None:
    """The folders of the parts; None where there are not two different parts.

    Raises:
        UserError: two folders mean the same part.
    """
    by_name = {folder.name: folder for folder in top.folders}
    found: dict[Split, PictureFolder] = {}
    doubled = None
    for name, part in roles(by_name).items():
        if part in found:
            doubled = doubled or (part, found[part].name, name)
        found[part] = by_name[name]
    if len(found) < 2:
        return None
    if doubled is not None:
        part, first, second = doubled
        raise UserError(f"{top.path}: {first!r} and {second!r} both mean {part}; keep one, or join them")
    return {part: _unwrapped(found[part]) for part in SPLITS if part in found}


def _unwrapped(part: PictureFolder) -> PictureFolder:
    """`train/train/CLASS` as `train/CLASS`."""
    inside = part.folders
    if len(inside) == 1 and not part.images and inside[0].name == part.name and not inside[0].images:
        return inside[0]
    return part


def _divided(
    top: PictureFolder, parts: dict[Split, PictureFolder], path: Path, account: LeftOut
) -> tuple[list[ListedPicture], str]:
    without = [folder for folder in parts.values() if not any(f.images for f in folder.folders)]
    if len(without) == len(parts) and any(folder.images for folder in without):
        raise UserError(
            f"{', '.join(str(f.path) for f in without)}: these are parts without classes, their pictures lie "
            f"in them directly; put the pictures of each class into a folder of its own in each part, or a "
            f"list like labels.csv (file,label,split) into {path}"
        )
    if "train" not in parts:
        names = " and ".join(folder.name for folder in parts.values())
        raise UserError(f"{path} has {names} but no training part; add a folder train")
    for part, folder in parts.items():
        if folder in without:
            raise _part_without_classes(folder, part, parts, path)
    pictures = []
    for part, folder in parts.items():
        pictures += _of_classes(folder, path, account, part)
    chosen = {folder.path for folder in parts.values()}
    for folder in top.folders:
        if folder.total and not any(one.is_relative_to(folder.path) for one in chosen):
            account.add("pictures in folders beside the parts", folder.name, folder.total)
    for image in top.images:
        account.add(BESIDE_CLASSES, image.name)
    names_of = [f"{folder.path.relative_to(path)}/" for folder in parts.values()]
    return pictures, f"{', '.join(names_of[:-1])} and {names_of[-1]}"


def _part_without_classes(
    folder: PictureFolder, part: Split, parts: dict[Split, PictureFolder], path: Path
) -> UserError:
    train = parts["train"].path
    works = "" if part == "train" or not would_work(train) else f"; or use folder:{train} alone"
    if folder.images:
        return UserError(
            f"{folder.path} has no class folders, its {len(folder.images):,} pictures lie in it directly; "
            f"put those of each class into a folder of its own{works}"
        )
    deeper = [f"{f.path}/{g.name}" for f in folder.folders for g in f.folders if g.total]
    if deeper:
        return UserError(
            f"{folder.path} has no classes directly: pictures lie one level deeper, in "
            f"{', '.join(deeper[:3])}; a class must lie directly in {folder.path}{works}"
        )
    return UserError(
        f"{folder.path} has no classes: it holds no pictures; fill it, or delete it: a part of train is then "
        "held out"
    )


def _of_classes(base: PictureFolder, path: Path, account: LeftOut, part: Split | None) -> list[ListedPicture]:
    """The pictures of the class folders directly in a folder."""
    classes = [folder for folder in base.folders if folder.images]
    if not classes:
        for folder in base.folders:
            if not any(inside.total for inside in base.folders):
                _check_empty(folder)
        raise no_classes(base)
    if part is None:
        _check_unsorted(classes)
    pictures = []
    for folder in classes:
        name = normalized(folder.name)
        pictures += [ListedPicture(image, name, part) for image in folder.images]
        account.add_others(folder, path)
        account.add_folders(BELOW_CLASSES, folder.folders, path)
        account.add_folders(UNREAD_FOLDERS, folder.unread_folders, path)
    for folder in base.folders:
        if not folder.images:
            _check_empty(folder)
            account.add(EMPTY_CLASSES, str(folder.path.relative_to(path)))
    for image in base.images:
        account.add(BESIDE_CLASSES, str(image.relative_to(path)))
    if part is not None:
        account.add_folders(UNREAD_FOLDERS, base.unread_folders, path)
    return pictures


def _check_unsorted(classes: list[PictureFolder]) -> None:
    """Refuse a part without classes that lies where the class folders lie; "train" can be a class, too.

    Raises:
        UserError: a class would be called val or test, or train beside one other folder.
    """
    for folder in classes:
        name = folder.name.casefold()
        if name in _NEVER_CLASSES or (part_of(name) == "train" and len(classes) < 3):
            raise UserError(
                f"{folder.path} looks like a part without classes: its {len(folder.images):,} pictures lie "
                "in it directly; put those of each class into a folder of its own in it, or move it away"
            )


def _check_empty(folder: PictureFolder) -> None:
    """Refuse a folder that holds something that may be the pictures of a class.

    Raises:
        UserError: pictures one level deeper, or files that are not read.
    """
    if folder.total:
        inside = [f.name for f in folder.folders if f.total]
        raise UserError(
            f"{folder.path} holds no pictures directly, but {folder.total:,} in folders below "
            f"({', '.join(inside[:3]) or 'hidden ones'}); if these are classes move them up, if "
            f"{folder.name!r} is a class move its pictures up, else move {folder.name!r} away"
        )
    files = {kind: len(paths) for kind, paths in folder.others.items() if kind not in _DOCUMENTS}
    if files:
        holds = ", ".join(f"{count:,} {kind}" for kind, count in files.items())
        raise UserError(
            f"the class {folder.name!r} is empty: {folder.path} holds {holds}, which are not read (known are "
            f"{', '.join(sorted(EXTENSIONS))}); convert or fetch them, or move the folder away"
        )
