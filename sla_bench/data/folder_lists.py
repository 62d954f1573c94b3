"""Lists of pictures with labels and splits: CSV and text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sla_bench.data.base import Split
from sla_bench.data.class_lists import SPLITS
from sla_bench.data.csv_tables import read_table
from sla_bench.data.image_files import EXTENSIONS
from sla_bench.data.image_lists import read_lines
from sla_bench.data.part_names import is_filler, part_of, words_of
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
_SPLIT = ["split", "set", "subset", "part", "partition", "phase"]
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


def head_of(path: Path) -> list[str]:
    """Columns of a table."""
    return list(next(iter(read_table(path, skip_spaces=True, delimiters=_DELIMITERS))))


def class_column(head: Iterable[str]) -> str | None:
    """The column that names classes."""
    return _column(head, _LABEL)


def split_column(head: Iterable[str]) -> str | None:
    """The column that names splits."""
    return _column(head, _SPLIT)


def file_column(head: Iterable[str]) -> str | None:
    """The column that names pictures."""
    return _column(head, _FILE)


def table_rows(path: Path, begin: int = 1) -> Iterator[tuple[str, dict[str, str]]]:
    """Place, for messages, and cells of each row from `begin` on; row 0 is the head."""
    table = read_table(path, skip_spaces=True, delimiters=_DELIMITERS)
    for number, row in enumerate(table):
        if number >= begin:
            yield f"row {number + 1} of {path}", row


def _is_named_as_list(path: Path) -> bool:
    if path.name.lower() == SPLITS_FILE or part_of(path.stem) is not None:
        return True
    return all(is_filler(word) or word in _KNOWN_STEMS for word in words_of(path.stem))


def _rows(path: Path) -> tuple[Row, ...]:
    if path.suffix.lower() in _TABLES:
        return tuple(_table_rows(path))
    with suppress(UserError):
        if rows := tuple(_table_rows(path)):
            return rows
    return tuple(_text_rows(path))


def _table_rows(path: Path) -> Iterator[Row]:
    """Rows of a table with a head, or without one where the first cell names a picture."""
    head = head_of(path)
    file, label, split = file_column(head), class_column(head), split_column(head)
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


def _column(head: Iterable[str], names: Sequence[str]) -> str | None:
    plain = {re.sub(r"[\W_]+", "", column.casefold()): column for column in reversed(list(head))}
    return next((plain[name] for name in names if name in plain), None)
