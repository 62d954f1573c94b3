"""An account of unused files and folders, by kind and name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sla_bench.data.picture_folders import PictureFolder

BELOW_CLASSES = "pictures in folders below a class"
BESIDE_CLASSES = "pictures beside the class folders"
UNREAD_FOLDERS = "pictures in hidden folders and folders of the system"
EMPTY_CLASSES = "class folders without a picture"
_PLURAL = re.compile(r"(?<=picture|.folder|...file|...link|pointer)s\b")
_SHOWN = 3
_RECORDED = 100


@dataclass
class LeftOut:
    """Everything that is left out of a folder.

    Args:
        found: kind -> path or name -> number of files.
    """

    found: dict[str, dict[str, int]] = field(default_factory=dict)

    def copy(self) -> LeftOut:
        """An account that can be continued without changing this one."""
        return LeftOut({kind: dict(names) for kind, names in self.found.items()})

    def add(self, kind: str, name: str, count: int = 1) -> None:
        """Count files under a kind and a name."""
        names = self.found.setdefault(kind, {})
        names[name] = names.get(name, 0) + count

    def add_others(self, folder: PictureFolder, base: Path) -> None:
        """Count what lies in a folder beside pictures and folders."""
        for kind, paths in folder.others.items():
            for path in paths:
                self.add(kind, _relative(path, base))

    def add_below(self, folder: PictureFolder, base: Path) -> None:
        """Count the pictures in the folders of a class folder."""
        for inside in folder.folders:
            if inside.total:
                self.add(BELOW_CLASSES, _relative(inside.path, base), inside.total)
        self.add_unread(folder, base)

    def add_unread(self, folder: PictureFolder, base: Path) -> None:
        """Count the pictures in hidden folders and folders of the system."""
        for inside in folder.unread_folders:
            if inside.total:
                self.add(UNREAD_FOLDERS, _relative(inside.path, base), inside.total)

    def lines(self) -> Iterator[str]:
        """Yield a line for each kind: how many, and the first names."""
        for kind, names in self.found.items():
            count = sum(names.values())
            numbered = count > len(names)
            shown = [f"{name} ({n:,})" if numbered else name for name, n in list(names.items())[:_SHOWN]]
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            what = kind if count > 1 else _PLURAL.sub("", kind, count=1)
            yield f"left out: {count:,} {what}: {', '.join(shown)}{more}"

    def record(self) -> dict[str, Any]:
        """Kind -> number and the first 100 names, for the record of a run."""
        return {
            kind: {"count": sum(names.values()), "names": dict(list(names.items())[:_RECORDED])}
            for kind, names in self.found.items()
        }


def _relative(path: Path, base: Path) -> str:
    return str(path.relative_to(base) if path.is_relative_to(base) else path)


def left_out_of(path: Path) -> LeftOut:
    """Account of what a search for pictures below a folder leaves out."""
    account = LeftOut()
    _add_tree(PictureFolder(path), path, account)
    return account


def _add_tree(folder: PictureFolder, base: Path, account: LeftOut) -> None:
    account.add_others(folder, base)
    account.add_unread(folder, base)
    for inside in folder.folders:
        if inside.path.is_symlink():
            if inside.images:
                account.add("pictures in links to folders", _relative(inside.path, base), len(inside.images))
        else:
            _add_tree(inside, base, account)
