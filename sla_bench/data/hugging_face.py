"""Data sets of Hugging Face on this machine: `hf:NAME_OR_PATH[:SPLITS]`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np

from sla_bench.data.class_lists import SPLITS
from sla_bench.data.folder import Folder, FolderMap
from sla_bench.data.folder_listing import FolderListing
from sla_bench.data.folder_names import HUGGING_FACE, FolderName, parse
from sla_bench.data.folder_tree import LeftOut, roles
from sla_bench.data.kept import fingerprint
from sla_bench.errors import UserError, first_names
from sla_bench.words import from_home

_WITH_SPLITS = re.compile(r"(.+):([\w.-]+(?:\+[\w.-]+)*)", re.DOTALL)
_SAVED = ("state.json", "dataset_dict.json")
"""Files of a folder that `save_to_disk` has written, the first of one split."""


@dataclass(frozen=True, init=False)
class HuggingFace(Folder):
    """Images and labels that the library `datasets` reads, prepared and split as those of a folder.

    `NAME_OR_PATH` is a parquet file, a folder that the library understands, one that `save_to_disk` has
    written, or a name of the Hub whose data set is in the library's cache; nothing is downloaded. Splits that
    are called train, validation, test or the like are the parts; one split alone is divided as class folders
    are. The columns of image and label are found by type, or named: `hf:PATH,image=photo,label=species`. Rows
    without a label are left out.

    Args:
        text: behind `hf:`; splits are joined by +, and size and options are those of a folder.

    Raises:
        UserError: an option is wrong.
    """

    prefix: ClassVar[str] = HUGGING_FACE

    def __init__(self, text: str) -> None:
        super().__init__(text)
        named = parse(text, HUGGING_FACE)
        source, splits = _divided(named)
        object.__setattr__(self, "path", from_home(source))
        object.__setattr__(self, "_asked", (source, splits, named.image, named.label))

    @cached_property
    def _tables(self) -> _Tables:
        """The tables as they are when they are first asked for."""
        source, splits, image, label = self.__dict__["_asked"]
        return _Tables(self.name, *_read(self.name, source), splits, image, label)

    def where(self, data_root: Path) -> Path:
        """The folder or file, or the folder of the library's cache."""
        del data_root
        return self._tables.place

    def files(self, data_root: Path) -> list[Path]:
        """The same, if it exists."""
        del data_root
        source = self.__dict__["_asked"][0]
        place = self.path if self.path.exists() else _cached(source)
        return [] if place is None else [place]

    def _list(self) -> FolderListing:
        return self._tables.listing.of_large_classes(self.min_images)

    def _map(self, data_root: Path) -> FolderMap:
        return replace(super()._map(data_root), contents=self._tables.contents)


def _divided(named: FolderName) -> tuple[str, tuple[str, ...]]:
    """The name or path, and the splits behind it, which may be none."""
    match = _WITH_SPLITS.fullmatch(named.path)
    if match is None or from_home(named.path).exists():
        return named.path, ()
    return match[1], tuple(match[2].split("+"))


def _library(name: str) -> Any:
    # Read when huggingface_hub is imported: nothing may ask its server.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        # Without the library a folder of this name in the working directory, such as ours, is imported.
        import datasets.config
    except ImportError:
        raise UserError(f"{name} needs the library datasets: pip install 'sla-bench[hf]'") from None
    return datasets


@contextmanager
def _offline(datasets: Any) -> Iterator[None]:
    """A local folder may name files of the Hub: none of these are fetched, and nothing is printed."""
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    shown = not datasets.are_progress_bars_disabled()
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before
        if shown:
            datasets.enable_progress_bars()


def _read(name: str, source: str) -> tuple[Path, dict[str, Any]]:
    """The place of a data set, and the tables of its splits.

    Raises:
        UserError: it is not on this machine, or the library cannot read it.
    """
    datasets, path = _library(name), from_home(source)
    place = path if path.exists() else _cached(source)
    if place is None:
        brings = f"datasets.load_dataset({source!r})"
        raise UserError(
            f"{name}: {source} is neither a file or folder here nor in the cache of Hugging Face, and a run "
            f'downloads nothing: python -c "import datasets; {brings}" brings it'
        )
    # Tables are files, whose state tells changes, and not in memory.
    how = {"download_config": datasets.DownloadConfig(local_files_only=True), "keep_in_memory": False}
    try:
        with _offline(datasets):
            if place != path:
                return place, _of_cache(datasets, place)
            if path.is_file():
                found = datasets.load_dataset("parquet", data_files=str(path), **how)
            elif any((path / file).is_file() for file in _SAVED):
                found = datasets.load_from_disk(str(path), keep_in_memory=False)
            else:
                found = datasets.load_dataset(str(path), **how)
    except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{name}: the library datasets cannot read {place}: {_said(error)}") from None
    except datasets.exceptions.DatasetsError as error:
        raise UserError(f"{name}: the library datasets cannot read {place}: {_said(error)}") from None
    return place, dict(found) if isinstance(found, dict) else {"all": found}


def _said(error: BaseException) -> str:
    """The first line of what went wrong at first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _cached(source: str) -> Path | None:
    """The folder in the library's cache of a name of the Hub; the newest of several."""
    datasets = _library(f"{HUGGING_FACE}{source}")
    from datasets.naming import camelcase_to_snakecase

    *owner, own = source.split("/")
    if len(owner) > 1 or not own:
        return None
    root = Path(datasets.config.HF_DATASETS_CACHE) / "___".join([*owner, camelcase_to_snakecase(own)])
    found = [description.parent for description in root.glob("*/*/*/dataset_info.json")]
    if len(configs := sorted({folder.relative_to(root).parts[0] for folder in found})) > 1:
        raise UserError(
            f"{HUGGING_FACE}{source} has several configurations, {first_names(configs)}; save one with "
            f"save_to_disk, and take {HUGGING_FACE}PATH"
        )
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)


def _of_cache(datasets: Any, place: Path) -> dict[str, Any]:
    info, tables = datasets.DatasetInfo.from_directory(str(place)), {}
    for split in info.splits or {}:
        files = sorted(
            file
            for file in place.glob("*.arrow")
            if re.fullmatch(rf".+-{re.escape(split)}(-\d+-of-\d+)?", file.stem)
        )
        parts = [datasets.Dataset.from_file(str(file)) for file in files]
        tables[split] = datasets.concatenate_datasets(parts)
    return tables


class _Tables:
    """The chosen splits of a data set.

    Args:
        name: of the data set, for messages.
        place: its file or folder.
        tables: split -> table.
        splits: the names of those that are wanted; none: all.
        image: name of the column of images; None: the only one of that type.
        label: name of the column of labels; None: the only one that can be.

    Raises:
        UserError: a split or column that does not exist, or one that must be named.
    """

    def __init__(
        self,
        name: str,
        place: Path,
        tables: Mapping[str, Any],
        splits: Sequence[str],
        image: str | None,
        label: str | None,
    ) -> None:
        self._name, self.place = name, place
        if missing := [split for split in splits if split not in tables]:
            raise UserError(f"{name} has no split {missing[0]!r}, only {first_names(list(tables))}")
        self._tables = {split: tables[split] for split in splits or tables}
        first = next(iter(self._tables.values()))
        self._image = self._column("image", image, _images(first.features), list(first.features))
        self._label = self._column("label", label, _labels(first.features), list(first.features))

    def _column(self, what: str, given: str | None, able: list[list[str]], columns: list[str]) -> str:
        """The given column, or the only one of the first kind of column that there is."""
        found = next(filter(None, able), [])
        if given is None and len(found) == 1:
            return found[0]
        if given is not None and any(given in kind for kind in able):
            return given
        wrong = f"{len(found) or 'no'} columns that may be the {what}"
        if given is not None:
            wrong = f"column {given!r} is not of {what}s" if given in columns else f"has no column {given!r}"
        raise UserError(f"{self._name}: {wrong}, of {first_names(columns)}; write {what}=COLUMN")

    @cached_property
    def listing(self) -> FolderListing:
        """All rows that have a label, by part and class; an image is called by its split and row."""
        parts, left_out = self._parts(), LeftOut()
        images: list[str] = []
        labels: list[str] = []
        places: list[int] = []
        for split, table in self._tables.items():
            for row, label in enumerate(_words(table, self._label)):
                if label is None:
                    left_out.add("pictures without a label", split)
                    continue
                images.append(f"{split}/{row}")
                labels.append(label)
                places.append(parts.get(split, 0))
        if not images:
            raise UserError(f"{self._name}: no row of {self._label!r} has a label")
        names, index = np.unique(np.array(labels), return_inverse=True)
        order = np.lexsort((index, np.array(places)))
        return FolderListing(
            self.place,
            tuple(images[place] for place in order),
            index[order].astype(np.int64),
            tuple(names.tolist()),
            np.array(places, np.int64)[order] if parts else None,
            self._fingerprint(),
            f"columns {self._image!r} and {self._label!r} of {first_names(list(self._tables))}",
            left_out,
        )

    def _parts(self) -> dict[str, int]:
        """Split -> position of its part; none where one split alone is divided."""
        if len(self._tables) == 1:
            return {}
        found = roles(self._tables)
        unknown = [split for split in self._tables if split not in found]
        if unknown or len(set(found.values())) < len(found) or "train" not in found.values():
            raise UserError(
                f"{self._name}: its splits {first_names(list(self._tables))} are not train, validation and "
                f"test; name those to read, as in {HUGGING_FACE}{self.place}:train+test, or one to divide"
            )
        return {split: SPLITS.index(part) for split, part in found.items()}

    def _fingerprint(self) -> str:
        files = [Path(file["filename"]) for table in self._tables.values() for file in table.cache_files]
        asked = (list(self._tables), self._image, self._label, fingerprint(files, Path()))
        return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]

    def contents(self, names: Sequence[str]) -> _Contents:
        """The content of each image, by its name in the listing."""
        columns = {split: table.data.column(self._image) for split, table in self._tables.items()}
        return _Contents(columns, names)


def _images(features: Mapping[str, Any]) -> list[list[str]]:
    """Columns of images; of their bytes, with or without a path."""
    exact = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    plain = [
        name
        for name, feature in features.items()
        if getattr(feature, "dtype", None) in ("binary", "large_binary")
        or (isinstance(feature, dict) and "bytes" in feature)
    ]
    return [exact, plain]


def _labels(features: Mapping[str, Any]) -> list[list[str]]:
    """Columns of class labels; of texts and whole numbers."""
    exact = [name for name, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    plain = re.compile("(large_)?string|u?int[0-9]+|bool")
    return [exact, [n for n, of in features.items() if plain.fullmatch(str(getattr(of, "dtype", "")))]]


def _words(table: Any, column: str) -> Iterator[str | None]:
    """The name of the class of each row; None where it has none."""
    names = getattr(table.features[column], "names", None)
    values = table.data.column(column).to_pylist()
    width = max((len(str(value)) for value in values if type(value) is int), default=0)
    for value in values:
        if value is None or value == "" or (names is not None and value < 0):
            yield None
        elif names is not None:
            yield str(names[value])
        else:
            # Classes are sorted by name, and numbers by value.
            yield f"{value:0{width}d}" if type(value) is int else str(value)


class _Contents(Sequence[bytes]):
    """Images of tables, read when they are asked for.

    Args:
        columns: split -> its column of images.
        names: SPLIT/ROW of each.
    """

    def __init__(self, columns: Mapping[str, Any], names: Sequence[str]) -> None:
        self._columns, self._names = columns, names

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> _Contents: ...
    def __getitem__(self, place: int | slice) -> bytes | _Contents:
        if isinstance(place, slice):
            return _Contents(self._columns, self._names[place])
        split, _, row = self._names[place].rpartition("/")
        value = self._columns[split][int(row)].as_py()
        if isinstance(value, dict):
            content, path = value.get("bytes"), value.get("path")
            # A missing file is not a picture: decoding says so by its name.
            value = content or (Path(path).read_bytes() if path and Path(path).is_file() else b"")
        return value if isinstance(value, bytes) else b""
