"""The files of a record: when they change, and what they hold."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sla_bench.harness.archive import ZIP_ERRORS

HISTORY_COLUMNS = frozenset({"member", "step"})
"""What every history has beside its figures."""
UNREADABLE = (KeyError, TypeError, AttributeError, RecursionError, csv.Error, *ZIP_ERRORS)
"""What reading a record raises whose files are damaged, or are not what they should be."""


def is_of_newer_version(error: BaseException) -> bool:
    """Nothing is wrong with a record but fields, or names of pieces, that this version does not know."""
    unknown = ("extra_forbidden", "literal_error")
    return isinstance(error, ValidationError) and all(e["type"] in unknown for e in error.errors())


# Asked of each of ten thousand records whenever they are read, for which pathlib is too slow.


def signature_of(folder: str) -> str:
    """Changes when a file of the record or of an evaluation does, by its size and time; empty: unfinished.

    Raises:
        OSError: the file system fails, as a network's does for a file that another machine has replaced.
    """
    stamps = _stamps(folder, ("done.json", "config.json", "history.csv"))
    if stamps.startswith(_MISSING):
        return UNFINISHED
    evaluations = f"{folder}/evaluations"
    further = [
        f"{name} {_stamps(f'{evaluations}/{name}', ('metrics.json', 'config.json', 'samples.npz'))}"
        for name in names_in(evaluations)
    ]
    return " ".join([stamps, *further])


_MISSING = "-"
UNFINISHED = ""


def _stamps(folder: str, names: Iterable[str]) -> str:
    found = []
    for name in names:
        try:
            stat = os.stat(f"{folder}/{name}")  # noqa: PTH116
            # A clock that was set back can give a file the time of the one before it, but not its number.
            found.append(f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}")
        except (FileNotFoundError, NotADirectoryError):
            found.append(_MISSING)
    return " ".join(found)


def names_in(folder: str) -> list[str]:
    """Names in a folder, ascending; none where it is missing."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []


def _evaluation_folders(folder: Path) -> list[Path]:
    return sorted(f.parent for f in folder.glob("evaluations/*/metrics.json"))


def read_files(folder: Path) -> dict[str, Any]:
    """The JSON files of a record; its other files are looked through. None for an evaluation that is damaged.

    Raises:
        Exception: one of UNREADABLE: a file of the training is missing, cut, or not what it should be.
    """
    content = read_training(folder)
    _check_history(folder / "history.csv")
    evaluations: dict[str, dict[str, Any] | None] = {}
    for evaluation in _evaluation_folders(folder):
        try:
            evaluations[evaluation.name] = read_evaluation(evaluation)
        except UNREADABLE:
            evaluations[evaluation.name] = None
    return {**content, "evaluations": evaluations}


def read_training(folder: Path) -> dict[str, Any]:
    """The JSON files of a training: "config" and "done"; raises as `read_files`."""
    config = json.loads((folder / "config.json").read_bytes())
    done = json.loads((folder / "done.json").read_bytes())
    # A default in their place would make the record that of another training.
    if absent := [n for c, names in ((config, _TOLD), (done, _SUMMED_UP)) for n in names if n not in c]:
        raise KeyError(absent[0])
    return {"config": config, "done": done}


_TOLD = ("scenario", "dataset", "method", "seed", "budget")
_SUMMED_UP = ("protocol",)


def read_evaluation(folder: Path) -> dict[str, Any]:
    """The JSON files of an evaluation, and the time "changed" of its metrics; raises as `read_files`."""
    with zipfile.ZipFile(folder / "samples.npz") as file:
        if (name := file.testzip()) is not None:
            raise ValueError(f"{folder}: {name} is damaged")
    metrics = folder / "metrics.json"
    return {
        "config": json.loads((folder / "config.json").read_bytes()),
        "metrics": json.loads(metrics.read_bytes()),
        "changed": metrics.stat().st_mtime,
    }


def _check_history(path: Path) -> None:
    # A data frame of a few rows costs more than all the rest of the record.
    with path.open(newline="", encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    if not HISTORY_COLUMNS.issubset(heading) or not rows:
        raise ValueError(f"{path}: cut within its heading, or after it")
    if any(len(row) != len(heading) for row in rows):
        raise ValueError(f"{path}: a row of more or fewer cells than columns")
    for name in HISTORY_COLUMNS:
        column = heading.index(name)
        for row in rows:
            int(row[column])
