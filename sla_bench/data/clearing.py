"""Deletes prepared and rendered images below a data root, never original files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sla_bench.data.folder import Folder
from sla_bench.data.folder_pictures import FACTS
from sla_bench.data.glyphs import RENDERED
from sla_bench.data.kept import HASHES
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.registry import DATASETS

_OURS = re.compile(r"folder-[0-9a-f]{16}|(?P<name>[a-z][a-z0-9_-]*)-[0-9a-f]{12}")
_ENDINGS = (".npy", HASHES, FACTS, ".files.npz")  # the last of earlier versions
_PART = re.compile(r"\..+\.part(\.json)?(\.new)?")


@dataclass(frozen=True)
class Prepared:
    """One folder below `DATA_ROOT/prepared`.

    Args:
        folder: where it lies.
        files: those in it that were made here.
        source: folder of the images that it was made of; "" where it was rendered, or has no description.
        side: height = width of its images; 0 where it has no description.
    """

    folder: Path
    files: tuple[Path, ...]
    source: str
    side: int

    @property
    def num_bytes(self) -> int:
        """Size of its files."""
        return sum(file.stat().st_size for file in self.files if file.exists())


def prepared_below(data_root: Path, name: str | None = None) -> list[Prepared]:
    """List what was prepared or rendered, by the name of its folder.

    Args:
        data_root: the data root.
        name: only of this data set; of a folder of images all its former states are named too.

    Raises:
        UserError: unknown data set, or a folder that cannot be read.
    """
    wanted = None if name is None else dataset_named(name)
    root = data_root / "prepared"
    try:
        folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.is_symlink())
        found = [one for folder in folders if (one := _prepared(folder)) is not None]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None
    return [one for one in found if wanted is None or _belongs(one, wanted)]


def clear(prepared: list[Prepared]) -> Iterator[tuple[Prepared, str]]:
    """Delete what is listed, and yield each with the reason why it stays, or "".

    A folder in which a command writes stays. Files that were not made here stay, and their folder with them.
    """
    from filelock import FileLock, Timeout

    for one in prepared:
        lock = FileLock(one.folder.with_name(f"{one.folder.name}.lock"), fallback_to_soft=False)
        try:
            with lock.acquire(timeout=0):
                yield one, _delete(one)
        except Timeout:
            yield one, "another command writes it"
        except OSError as error:
            yield one, error.strerror or str(error)


def _delete(one: Prepared) -> str:
    # Without its description nobody takes the pixels for whole.
    for file in sorted(one.files, key=lambda file: file.suffix != ".json"):
        file.unlink(missing_ok=True)
    others = sorted(file.name for file in one.folder.iterdir())
    if not others:
        one.folder.rmdir()
        return ""
    return f"it holds {others[0]}{' and more' if others[1:] else ''}, which was not made here"


def _prepared(folder: Path) -> Prepared | None:
    """The files of a folder that were made here; None where all are of others."""
    files = [file for file in folder.iterdir() if file.is_file() and not file.is_symlink()]
    descriptions = {file: found for file in files if (found := _description(file)) is not None}
    names = {f"{file.stem}{ending}" for file in descriptions for ending in _ENDINGS}
    match = _OURS.fullmatch(folder.name)
    if match and match["name"] in (None, *DATASETS):
        # A name with a hash in it is nobody else's, so files whose description was lost are ours too.
        names |= {file.name for file in files if file.name.endswith((".json", *_ENDINGS))}
    made = [f for f in files if f in descriptions or f.name in names or _PART.fullmatch(f.name)]
    if not made:
        return None
    unknown: dict[str, Any] = {"layout": RENDERED, "shape": [0, 0]}
    first = next(iter(descriptions.values()), unknown)
    source = "" if first["layout"] == RENDERED else first["source"]
    return Prepared(folder, tuple(sorted(made)), source, first["shape"][1])


def _description(file: Path) -> dict[str, Any] | None:
    """The content of the description of a map; None for any other file."""
    if file.suffix != ".json" or file.name.startswith("."):
        return None
    try:
        content = json.loads(file.read_bytes())
        return content if {"sha256", "layout", "source"} <= set(content) and content["shape"][1] else None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _belongs(one: Prepared, dataset: Any) -> bool:
    if isinstance(dataset, Folder):
        return one.source == str(dataset.where(Path()).resolve()) and one.side == dataset.properties.size
    match = _OURS.fullmatch(one.folder.name)
    base = match["name"] if match else one.folder.name
    return bool(base == dataset.name.replace(":", "-"))
