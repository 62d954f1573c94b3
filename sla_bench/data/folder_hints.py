"""The nearest usable folder in place of an unusable one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sla_bench.data.folder_lists import find_lists
from sla_bench.data.part_names import part_of, roles
from sla_bench.data.picture_folders import PictureFolder
from sla_bench.errors import UserError

_DEPTH = 3
_SHOWN = 4
_MOST_FOLDERS = 2000


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
        where = f"; did you mean folder:{above}?" if above else _own_folders()
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
    return UserError(f"{path} has no classes{_own_folders()}")


def _own_folders() -> str:
    return "; put the images of each class into a folder of its own"


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
