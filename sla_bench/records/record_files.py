"""The files of a record: their changes, contents and weights."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from sla_bench.config import Settings
from sla_bench.data.arrays import read_array
from sla_bench.errors import UserError, mistake_of
from sla_bench.evaluation.class_metrics import recorded
from sla_bench.grids.asked import Asked
from sla_bench.records.archive import ZIP_ERRORS, is_plain
from sla_bench.training.long_tail import GROUP_NAMES

_WHOLE_NUMBERS = ("member", "step")
"""Columns that every history has."""
_MOST_COLUMNS = 100
"""pandas spends a kilobyte on a column."""
_LARGEST_HISTORY = 16 << 20
UNREADABLE = (KeyError, TypeError, AttributeError, RecursionError, UserError, csv.Error, *ZIP_ERRORS)
"""What reading a record raises whose files are damaged, or are not what they should be."""


@dataclass(frozen=True)
class Unreadable:
    """A finished record, or one of its evaluations, that can't be read.

    Args:
        path: its folder.
        newer: it has fields or values that are unknown here, as those of a newer version; else it is damaged.
    """

    path: Path
    newer: bool

    @property
    def why(self) -> str:
        """In a few words."""
        return "made by a newer version?" if self.newer else "damaged"


def is_of_newer_version(error: BaseException) -> bool:
    """Nothing is wrong with a record but fields, or names of pieces, that this version does not know."""
    unknown = ("extra_forbidden", "literal_error")
    if isinstance(error, UserError):
        return True
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


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    protocol: int
    data_state: str = Field("", pattern="^([0-9a-f]{16})?$")
    asked: Annotated[Asked | None, Field(strict=False)] = None


_Pixel = Annotated[int, Field(ge=-(2**31), lt=2**32)]
_Done = create_model(
    "_Done",
    __base__=_Facts,
    train_images=(float, ...),
    train_seconds=(float, ...),
    parameters=(float, ...),
    threads=(Annotated[int, Field(ge=1)], 1),
    data_hash=(str | None, None),
    class_names=(list[str], []),
    class_counts=(list[Annotated[int, Field(ge=1, lt=2**48)]], []),
    groups=(list[Annotated[int, Field(ge=0, lt=len(GROUP_NAMES))]], []),
    pixel_range=(Annotated[list[_Pixel], Field(min_length=2, max_length=2)] | None, None),
)
_Metrics = create_model(
    "_Metrics",
    __base__=_Facts,
    rows=(dict[str, dict[str, Any]], ...),
    data_hash=(str, ...),
    recorded_at=(float, 0.0),
)


def read_files(folder: Path) -> dict[str, Any]:
    """The JSON files of a record; its other files are looked through. None for an evaluation that is damaged.

    Raises:
        Exception: one of UNREADABLE: a file of the training is missing, cut, or not what it should be.
    """
    content = read_training(folder)
    check_history(folder)
    evaluations: dict[str, dict[str, Any] | None] = {}
    for evaluation in sorted(path.parent for path in folder.glob("evaluations/*/metrics.json")):
        try:
            changed = (evaluation / "metrics.json").stat().st_mtime
            evaluations[evaluation.name] = {**read_evaluation(evaluation), "changed": changed}
        except UNREADABLE:
            evaluations[evaluation.name] = None
    return {**content, "evaluations": evaluations}


def read_training(folder: Path) -> dict[str, Any]:
    """The JSON files of a training: "config" and "done"; raises as `read_files`."""
    config, done = read_mapping(folder / "config.json"), read_mapping(folder / "done.json")
    # A default in their place would make the record that of another training.
    if absent := [name for name in _TOLD if name not in config]:
        raise KeyError(absent[0])
    _check(_Done, done, "done.json")
    return {"config": config, "done": done}


_TOLD = ("scenario", "dataset", "method", "seed", "budget")


def read_evaluation(folder: Path) -> dict[str, Any]:
    """The JSON files of an evaluation: "config" and "metrics"; raises as `read_files`."""
    checked_samples((folder / "samples.npz").read_bytes())
    config, metrics = read_mapping(folder / "config.json"), read_mapping(folder / "metrics.json")
    _check(_Metrics, metrics, "metrics.json")
    return {"config": config, "metrics": metrics}


def content_of(folder: Path) -> bytes | bool:
    """As from `read_files`, as JSON; of a record that can't be read, whether a newer version made it."""
    try:
        return json.dumps(read_files(folder)).encode()
    except UNREADABLE as error:
        return is_of_newer_version(error)


def is_current(folder: Path, mark: str, read: Callable[[Path], Any], kind: type[Settings]) -> bool:
    """The file that is written last is there, all can be read, and the protocol is this version's."""
    if not (folder / f"{mark}.json").exists():
        return False
    try:
        content = read(folder)
        config = kind.model_validate(content["config"])
    except UNREADABLE:
        return False
    return bool(content[mark]["protocol"] == config.protocol)


def recorded_asked(content: Mapping[str, Any]) -> Asked | None:
    """The part "asked" of done.json or metrics.json; None in records of earlier versions."""
    return Asked.model_validate(content["asked"]) if content.get("asked") else None


def _check(model: type[_Facts], content: dict[str, Any], name: str) -> None:
    try:
        model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{name}: {first['loc'][0]}: {mistake_of(first)}") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """The content of a JSON file; raises as `read_files`."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name}: not a mapping")
    return content


def recorded_threads(folder: Path) -> int:
    """The threads that a training was done on, by its environment.json; 1 where that can't be read."""
    try:
        threads = read_mapping(folder / "environment.json").get("threads", 1)
    except (OSError, ValueError):
        return 1
    return threads if isinstance(threads, int) and threads >= 1 else 1


def check_history(folder: Path) -> None:
    """Refuse a history.csv that is cut, or holds anything else than numbers; raises as `read_files`."""
    content = (folder / "history.csv").read_bytes()
    if len(content) > _LARGEST_HISTORY:
        raise ValueError(f"history.csv: larger than {_LARGEST_HISTORY:,} bytes")
    # A data frame of a few rows costs more than all the rest of the record.
    rows = csv.reader(io.StringIO(content.decode(), newline=""))
    heading = next(rows, [])
    if len(heading) > _MOST_COLUMNS:
        raise ValueError(f"history.csv: more than {_MOST_COLUMNS} columns")
    row = None
    for row in rows:
        if len(row) != len(heading):
            raise ValueError("history.csv: a row of more or fewer cells than columns")
        for name, cell in zip(heading, row, strict=True):
            try:
                int(cell) if name in _WHOLE_NUMBERS else float(cell or "nan")
            except ValueError:
                raise ValueError(f"history.csv: {name[:40]}: {cell[:40]!r} is not a number") from None
    if not set(_WHOLE_NUMBERS) <= set(heading) or row is None:
        raise ValueError("history.csv: cut within its heading, or after it")


WEIGHTS = "model.safetensors"


def kept_weights(folder: Path) -> Path:
    """Return the file of weights below the folder of a run.

    Raises:
        UserError: there is none.
    """
    path = folder / WEIGHTS
    if not path.exists():
        raise UserError(
            f"run {folder.name} has no {WEIGHTS}: it was recorded with --keep-models none or imported; "
            f"delete {folder} to train it again, with --keep-models all"
        )
    return path


LARGEST_SAMPLES = 256 << 20
"""Bytes of one evaluation's arrays."""
_INTEGERS = (np.uint8, np.uint16, np.int16, np.int32)


def compact_samples(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays in small types.

    Integers keep their values, in the smallest type that holds them. Confidences and -log p, which older
    records hold as float32, become float16; tables read them so in any case.

    Args:
        samples: name -> array, as in samples.npz.
    """
    return {
        name: _small_integers(array) if array.dtype.kind in "iu" else recorded(array)
        for name, array in samples.items()
    }


def _small_integers(array: np.ndarray) -> np.ndarray:
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for kind in _INTEGERS:
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return array.astype(kind) if np.dtype(kind).itemsize < array.dtype.itemsize else array
    return array


def samples_bytes(samples: Mapping[str, np.ndarray]) -> bytes:
    """Return a samples.npz; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in samples.items():
            # NumPy's own writer may tell the time.
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def checked_samples(content: bytes) -> dict[str, np.ndarray]:
    """Read a samples.npz that may hold anything.

    Raises:
        ValueError: it is not an archive of plain numeric arrays, or these are larger than LARGEST_SAMPLES.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if not all(is_plain(info) for info in infos):
                raise ValueError("packed in an unusual way")
            if sum(info.file_size for info in infos) > LARGEST_SAMPLES:
                raise ValueError(f"arrays of more than {LARGEST_SAMPLES:,} bytes")
        arrays = {}
        for info in infos:
            array = _unpacked(content, info)
            arrays[info.filename.removesuffix(".npy")] = read_array(io.BytesIO(array), len(array))
        return arrays
    except ZIP_ERRORS as error:
        raise ValueError(f"samples.npz: damaged arrays ({error})") from None


_LOCAL_HEADER = struct.Struct("<4s22xHH")


def _unpacked(archive: bytes, info: zipfile.ZipInfo) -> bytes:
    """A plain member of an archive, as `ZipFile.read`, which takes five times as long for small ones."""
    signature, name, extra = _LOCAL_HEADER.unpack_from(archive, info.header_offset)
    start = info.header_offset + _LOCAL_HEADER.size
    if signature != b"PK\x03\x04" or archive[start : start + name] != info.orig_filename.encode():
        raise ValueError(f"{info.filename[:80]}: not where the archive says")
    start += name + extra
    content = archive[start : start + info.compress_size]
    if info.compress_type == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, info.file_size + 1)
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise ValueError(f"{info.filename[:80]}: another content than the archive says")
    return content
