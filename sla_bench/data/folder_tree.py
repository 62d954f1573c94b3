"""A folder's pictures, folders and parts, and its unused files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sla_bench.data.base import Split
from sla_bench.data.images import EXTENSIONS
from sla_bench.errors import UserError
from sla_bench.words import nearest_path

_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trainval", "trn", "base"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "devel", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "novel"), "test"),
}
_EVALUATION = frozenset({"eval", "evaluation", "holdout", "heldout"})
FILLERS = (
    "set", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "photo",
    "photos", "split", "splits", "part", "meta", "label", "labels", "list", "lists", "file", "files",
    "annotation", "annotations", "metadata",
)  # fmt: skip


def words_of(name: str) -> list[str]:
    """Words of a name in small letters: `trainLabels2` -> train, labels; digits and signs separate."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    return [word.casefold() for word in re.findall(r"[^\W\d_]+", spaced)]


def part_of(name: str) -> Split | None:
    """The part that a name means; None where it means none."""
    return roles([name]).get(name)


def roles(names: Iterable[str]) -> dict[str, Split]:
    """The names that mean a part, of several beside each other, with the part.

    "eval" is the validation part or, where there is a validation part, the test part.
    """
    found: dict[str, Split] = {}
    undecided = []
    for name in names:
        words = [word for word in map(_stripped, words_of(name)) if word and word not in FILLERS]
        if len(words) == 1 and words[0] in _WORDS:
            found[name] = _WORDS[words[0]]
        elif len(words) == 1 and words[0] in _EVALUATION:
            undecided.append(name)
    for name in undecided:
        found[name] = "test" if "val" in found.values() else "val"
    return found


def _stripped(word: str) -> str:
    """`trainset` -> train."""
    for filler in FILLERS:
        rest = word.removesuffix(filler)
        if rest in _WORDS:
            return rest
    return word


DANGLING, ANNEX, LFS = "dangling links", "git-annex files without content", "git-lfs pointers"
HIDDEN = "hidden pictures"
_VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".dvc", ".datalad"})
_SYSTEM = frozenset(
    {"@eadir", "$recycle.bin", "system volume information", "lost+found", "__macosx", "__pycache__"}
    | {"__cache__", "__thumbs__", "__thumbnails__", "__previews__"}
)
_QUIET = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_POINTERS = {b"version https://git-lfs": LFS, b"/annex/objects/": ANNEX}
_LARGEST_POINTER = 400
"""Bytes."""
_LONGEST_EXTENSION = 10


class PictureFolder:
    """One folder, read when first asked; links to folders are followed one level deep.

    Version control's own folders, AppleDouble files (`._a.jpg`) and the like count as nothing.

    Args:
        path: the folder.

    Raises:
        UserError: by every property: the folder cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.name

    @property
    def images(self) -> list[Path]:
        """Pictures directly in the folder that can be read by their extension, by name."""
        return self._content[0]

    @property
    def folders(self) -> list[PictureFolder]:
        """Folders that may be classes or parts, by name."""
        return self._content[1]

    @property
    def unread_folders(self) -> list[PictureFolder]:
        """Hidden folders and those that systems and programs make, by name."""
        return self._content[2]

    @property
    def others(self) -> dict[str, list[Path]]:
        """Kind ("`.heic` files", "dangling links", ...) -> everything else that is directly in the folder."""
        return self._content[3]

    @cached_property
    def total(self) -> int:
        """Pictures in the folder and in all folders below, unread folders included."""
        below = (f for f in (*self.folders, *self.unread_folders) if not f.path.is_symlink())
        return len(self.images) + sum(folder.total for folder in below)

    def walk(self, links: bool = False) -> Iterator[Path]:
        """All pictures in the folder and in folders below; unread folders and links to folders left out.

        Args:
            links: follow links to folders that lie directly in this one.
        """
        yield from self.images
        for folder in self.folders:
            if links or not folder.path.is_symlink():
                yield from folder.walk()

    @cached_property
    def _content(
        self,
    ) -> tuple[list[Path], list[PictureFolder], list[PictureFolder], dict[str, list[Path]]]:
        images: list[Path] = []
        folders: list[PictureFolder] = []
        unread: list[PictureFolder] = []
        others: dict[str, list[Path]] = {}
        try:
            with os.scandir(self.path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                path, low = self.path / entry.name, entry.name.lower()
                if low in _VERSION_CONTROL or low in _QUIET or low.startswith("._"):
                    continue
                if entry.is_dir():
                    (unread if low.startswith(".") or low in _SYSTEM else folders).append(PictureFolder(path))
                elif (kind := _kind(entry)) is None:
                    images.append(path)
                elif kind:
                    others.setdefault(kind, []).append(path)
        except OSError as error:
            where = error.filename or self.path
            raise UserError(f"cannot read the folder {where}: {error.strerror or error}") from None
        return images, folders, unread, others


def _kind(entry: os.DirEntry[str]) -> str | None:
    """None for a picture, "" for a hidden file of another kind, else words for the kind of file."""
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - 60,000 times
    if not entry.is_file():
        if not entry.is_symlink():
            return "other files"
        return ANNEX if "annex/objects" in str(Path(entry.path).readlink()) else DANGLING
    if entry.name.startswith("."):
        return HIDDEN if suffix in EXTENSIONS else ""
    if suffix in EXTENSIONS:
        return _pointer(entry)
    return f"{suffix} files" if suffix[1:].isalnum() and len(suffix) <= _LONGEST_EXTENSION else "other files"


def _pointer(entry: os.DirEntry[str]) -> str | None:
    """Words for a small text that stands in for a picture; None for a picture."""
    if entry.stat().st_size > _LARGEST_POINTER:
        return None
    try:
        with open(entry.path, "rb") as file:  # noqa: PTH123 - 60,000 times
            begin = file.read(len(max(_POINTERS, key=len)))
    except OSError:
        return None
    return next((kind for mark, kind in _POINTERS.items() if begin.startswith(mark)), None)


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Image files by name: those that are named, whatever their extension, and all below folders.

    Returns:
        Each file once, in the order of the paths, below a folder by folder and name; links to folders, hidden
        files and folders of the system are left out.

    Raises:
        UserError: a path that does not exist, a folder that cannot be read, or no images.
    """
    if not paths:
        raise UserError("name the images: files, or folders with images")
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(PictureFolder(path).walk())
        elif path.exists():
            found[path] = None
        else:
            raise UserError(f"there is no file or folder {path}{nearest_path(path)}")
    if not found:
        raise UserError(
            f"no images in {', '.join(map(str, paths))} (known are {', '.join(sorted(EXTENSIONS))})"
        )
    return list(found)


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

    def add_folders(self, kind: str, folders: Iterable[PictureFolder], base: Path) -> None:
        """Count the pictures in folders that hold some."""
        for folder in folders:
            if folder.total:
                self.add(kind, _relative(folder.path, base), folder.total)

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
    account, waiting = LeftOut(), [PictureFolder(path)]
    while waiting:
        folder = waiting.pop()
        account.add_others(folder, path)
        account.add_folders(UNREAD_FOLDERS, folder.unread_folders, path)
        for inside in folder.folders[::-1]:
            if not inside.path.is_symlink():
                waiting.append(inside)
            elif inside.images:
                account.add("pictures in links to folders", _relative(inside.path, path), len(inside.images))
    return account
