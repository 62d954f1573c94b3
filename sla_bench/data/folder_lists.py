"""Lists of pictures with labels and splits: CSV and text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sla_bench.data.base import Split
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder_tree import FILLERS, LeftOut, PictureFolder, part_of, words_of
from sla_bench.data.images import EXTENSIONS
from sla_bench.data.lists import read_lines, read_table
from sla_bench.errors import UserError, nearest

SPLITS_FILE = "splits.csv"
_DELIMITERS = ",;\t"
_TABLES, _TEXTS = frozenset({".csv", ".tsv"}), frozenset({".txt", ".lst"})
_FILE = (
    "file", "filename", "filepath", "path", "image", "imagename", "imagefile", "imagefilename",
    "imagepath", "imageid", "img", "imgname", "imgpath", "picture", "photo", "id",
)  # fmt: skip
_LABEL = (
    "classname", "labelname", "categoryname", "label", "class", "category", "target", "labels",
    "classes", "species", "breed", "classid",
)  # fmt: skip
_SPLIT = ("split", "set", "subset", "part", "partition", "phase")
_KNOWN_STEMS = frozenset({"index", "info"})


@dataclass(frozen=True)
class Row:
    """A picture as a list names it.

    Args:
        place: where the row stands, for messages.
        file: path or name of the picture, with or without extension.
        label: name of the class; None: the list has no labels; "": this row has none.
        split: of the picture; None where the list does not say.
    """

    place: str
    file: str
    label: str | None
    split: Split | None


@dataclass(frozen=True)
class PictureList:
    """A list of pictures.

    Args:
        path: of the list.
        rows: at least one.
        part: that the name of the list means; None where it means none.
    """

    path: Path
    rows: tuple[Row, ...]
    part: Split | None

    @property
    def has_labels(self) -> bool:
        """The list names classes."""
        return self.rows[0].label is not None

    @property
    def has_splits(self) -> bool:
        """A column names splits."""
        return any(row.split is not None for row in self.rows)


def normalized(text: str) -> str:
    """Text in one way of writing accents (NFC), without spaces around it."""
    return unicodedata.normalize("NFC", text).strip()


def find_lists(folder: Path, strict: bool = True) -> list[PictureList]:
    """The lists of pictures directly in a folder, `splits.csv` first, then by name.

    Files of other kinds, and tables without a column of pictures, are not among them.

    Args:
        folder: the folder.
        strict: refuse any file whose name says that it is a list; else `splits.csv` only.

    Raises:
        UserError: such a file cannot be read, or a row names an unknown split.
    """
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.name.lower() != SPLITS_FILE, path.name)):
        suffix = path.suffix.lower()
        if path.name.startswith(".") or suffix not in _TABLES | _TEXTS or not path.is_file():
            continue
        named = _is_named_as_list(path)
        if suffix in _TEXTS and not named:
            continue
        try:
            rows = _rows(path)
        except UserError:
            if path.name.lower() == SPLITS_FILE or (strict and named):
                raise
            continue
        if rows:
            found.append(PictureList(path, rows, part_of(path.stem)))
    return found


def split_named(text: str, place: str) -> Split:
    """The split that a cell means.

    Raises:
        UserError: it means none.
    """
    split = part_of(text)
    if split is None:
        raise UserError(f"{place} has the split {text!r}; {nearest(text, SPLITS)}")
    return split


class Head(NamedTuple):
    """The columns of a table, and those of pictures, classes and splits where there are such."""

    columns: list[str]
    file: str | None
    label: str | None
    split: str | None


def head_of(path: Path) -> Head:
    """Read the head of a table; errors as `read_table`."""
    columns = list(next(read_table(path, skip_spaces=True, delimiters=_DELIMITERS)))
    plain = {re.sub(r"[\W_]+", "", column.casefold()): column for column in reversed(columns)}
    named = (next((plain[n] for n in names if n in plain), None) for names in (_FILE, _LABEL, _SPLIT))
    return Head(columns, *named)


def table_rows(path: Path, begin: int = 1) -> Iterator[tuple[str, dict[str, str]]]:
    """Place, for messages, and cells of each row from `begin` on; row 0 is the head."""
    table = read_table(path, skip_spaces=True, delimiters=_DELIMITERS)
    for number, row in enumerate(table):
        if number >= begin:
            yield f"row {number + 1} of {path}", row


def _is_named_as_list(path: Path) -> bool:
    if path.name.lower() == SPLITS_FILE or part_of(path.stem) is not None:
        return True
    return all(word in FILLERS or word in _KNOWN_STEMS for word in words_of(path.stem))


def _rows(path: Path) -> tuple[Row, ...]:
    if path.suffix.lower() in _TABLES:
        return tuple(_table_rows(path))
    with suppress(UserError):
        if rows := tuple(_table_rows(path)):
            return rows
    return tuple(_text_rows(path))


def _table_rows(path: Path) -> Iterator[Row]:
    """Rows of a table with a head, or without one where the first cell names a picture."""
    head, file, label, split = head_of(path)
    others = [column for column in head if column not in (file, split)]
    if file is not None and label is None and len(others) == 1:
        (label,) = others
    begin = 1
    if file is None and len(head) > 1 and _names_picture(head[0]):
        file, label, begin = head[0], head[1], 0
        split = head[2] if len(head) > 2 and part_of(head[2]) else None
    if file is None or (label is None and split is None and part_of(path.stem) is None):
        return
    for place, row in table_rows(path, begin):
        if not any(map(str.strip, row.values())):
            continue
        part = split_named(row[split].strip(), place) if split is not None else None
        yield Row(place, row[file].strip(), None if label is None else normalized(row[label]), part)


def _text_rows(path: Path) -> Iterator[Row]:
    """Rows of `path label`, of `path,label` or of `path` alone; a path has a folder or an extension."""
    lines = read_lines(path)
    if not lines or not (re.search(r"[/\\]", lines[0][1]) or any(map(_names_picture, lines[0][1].split()))):
        return
    separator = next((s for s in (None, ",", ";") if all(_is_labelled(line, s) for _, line in lines)), "")
    for number, line in lines:
        file, label = (line, None) if separator == "" else line.rsplit(separator, 1)
        place = f"line {number} of {path}"
        yield Row(place, file.strip(" ,;"), None if label is None else normalized(label), None)


def _is_labelled(line: str, separator: str | None) -> bool:
    cells = line.rsplit(separator, 1)
    return len(cells) == 2 and not _names_picture(cells[1])


def _names_picture(text: str) -> bool:
    return PurePosixPath(text.strip()).suffix.lower() in EXTENSIONS


class PictureIndex:
    """Finds pictures by the way in which a list names them.

    Args:
        images: all pictures below a folder.
        base: that folder.
    """

    def __init__(self, images: Iterable[Path], base: Path) -> None:
        self._by_key: dict[str, list[tuple[tuple[str, ...], Path]]] = {}
        for image in images:
            parts = tuple(normalized(part) for part in image.relative_to(base).parts)
            for name in dict.fromkeys((parts[-1], PurePosixPath(parts[-1]).stem)):
                self._by_key.setdefault(name.casefold(), []).append(((*parts[:-1], name), image))

    def find(self, named: str, part: Split | None = None) -> list[Path]:
        """Pictures that a path or name can mean; more than one where it is ambiguous.

        Args:
            named: path below the folder or above it, or a name, with or without extension.
            part: of the list; decides between folders of parts.
        """
        wanted = tuple(p for p in normalized(named).replace("\\", "/").split("/") if p not in ("", "."))
        if not wanted:
            return []
        fitting = []
        for parts, image in self._by_key.get(wanted[-1].casefold(), ()):
            common = min(len(parts), len(wanted))
            if [p.casefold() for p in parts[-common:]] == [p.casefold() for p in wanted[-common:]]:
                fitting.append((parts, image))
        preferences: tuple[Callable[[tuple[str, ...]], bool], ...] = (
            lambda parts: parts[-len(wanted) :] == wanted,
            lambda parts: part is not None and any(part_of(p) == part for p in parts[:-1]),
            lambda parts: parts == wanted,
        )
        for better in preferences:
            if len(fitting) > 1:
                fitting = [one for one in fitting if better(one[0])] or fitting
        return list(dict.fromkeys(image for _, image in fitting))


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
