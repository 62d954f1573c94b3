"""Images that were converted once: one `.npy` file per split, opened as a memory map.

A map is complete or not there: pixels are written under a temporary name, renamed, and the description beside
them (`.json`), without which they are not taken, is written last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from sla_bench.datasets.base import LabeledImages
from sla_bench.datasets.checksums import Status, file_digest
from sla_bench.datasets.progress import Progress
from sla_bench.datasets.sources import SplitSource
from sla_bench.errors import UserError

FORMAT = 1
_STALE_SECONDS = 3600.0


@dataclass(frozen=True)
class MapDescription:
    """What stands beside a map.

    Args:
        shape: (N, H, W, 3).
        labels: N values 0..C-1.
        class_names: C names.
        grey: the three channels of every image are equal.
        sha256: of the pixels' file.
        layout: name of the layout that was converted.
        source: folder that was converted.
        fingerprint: of the files in it, as `checksums.fingerprint`.
    """

    shape: list[int]
    labels: list[int]
    class_names: list[str]
    grey: bool
    sha256: str
    layout: str
    source: str
    fingerprint: str


def map_path(folder: Path, name: str) -> Path:
    """Where the pixels of a map lie."""
    return folder / f"{name}.npy"


def read_description(folder: Path, name: str) -> MapDescription | None:
    """The description of a map; None where there is no complete map of this format.

    Raises:
        UserError: the description is there and cannot be read.
    """
    path = folder / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            return None
        description = MapDescription(**content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged; delete {folder} and prepare the data set again") from None
    return description if map_path(folder, name).is_file() else None


def open_map(folder: Path, name: str) -> LabeledImages | None:
    """Open a map; changes to the images stay in memory. None where there is no complete map.

    Raises:
        UserError: the pixels do not fit their description.
    """
    description = read_description(folder, name)
    if description is None:
        return None
    path = map_path(folder, name)
    try:
        images = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is damaged; delete it and prepare the data set again ({error})") from None
    if list(images.shape) != description.shape or images.dtype != np.uint8:
        raise UserError(f"{path} does not fit its description; delete it and prepare the data set again")
    labels = np.asarray(description.labels, dtype=np.int64)
    return LabeledImages(images, labels, tuple(description.class_names), grey=description.grey)


def write_map(
    folder: Path,
    name: str,
    source: SplitSource,
    *,
    layout: str,
    origin: Path,
    fingerprint: str,
    progress: Progress,
) -> Path:
    """Write one split as a map, in blocks, never in memory as a whole.

    Args:
        folder: usually `DATA_ROOT/prepared/NAME`; made where missing.
        name: usually the split.
        source: the images.
        layout: name of the layout they lie in.
        origin: folder they lie in.
        fingerprint: of their files.
        progress: called after each block.

    Returns:
        The file with the pixels.

    Raises:
        UserError: folder not writable, disk full, or damaged images. Nothing is left behind.
    """
    temporary = folder / f".{name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder, name)
        _check_space(folder, source.num_bytes)
        sha256, grey = _write_pixels(temporary, source, progress)
        description = MapDescription(
            shape=list(source.shape),
            labels=source.labels.tolist(),
            class_names=list(source.class_names),
            grey=grey,
            sha256=sha256,
            layout=layout,
            source=str(origin.resolve()),
            fingerprint=fingerprint,
        )
        _publish(folder, name, temporary, description)
    except OSError as error:
        raise UserError(
            f"cannot write {folder} ({error.strerror or error}); --data-root must name a folder that can be "
            f"written, with {source.num_bytes / 1e9:.1f} GB free"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return map_path(folder, name)


def verify_map(folder: Path, name: str) -> Status:
    """Compare the pixels with the checksum that was taken when they were written."""
    try:
        description = read_description(folder, name)
        return (
            "ok"
            if description is not None and file_digest(map_path(folder, name), "sha256") == description.sha256
            else "bad"
        )
    except UserError:
        return "bad"


def _description_or_none(folder: Path, name: str) -> MapDescription | None:
    try:
        return read_description(folder, name)
    except UserError:
        return None


def _publish(folder: Path, name: str, temporary: Path, description: MapDescription) -> None:
    # An equal description may stay: whoever opens the map meanwhile finds the same pixels.
    if _description_or_none(folder, name) != description:
        (folder / f"{name}.json").unlink(missing_ok=True)
    temporary.replace(map_path(folder, name))
    text = json.dumps({"format": FORMAT, **vars(description)})
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / f"{name}.json")


def _write_pixels(path: Path, source: SplitSource, progress: Progress) -> tuple[str, bool]:
    # Ordinary writes and not a writable map: on a full disk the former raise, the latter kill the process.
    total = source.shape[0]
    done, grey = 0, True
    with path.open("wb") as file:
        digest = _HashingFile(file)
        header = {"descr": "|u1", "fortran_order": False, "shape": source.shape}
        np.lib.format.write_array_header_1_0(digest, header)
        for block in source.blocks():
            digest.write(np.ascontiguousarray(block).data)
            grey = grey and bool((block[..., :1] == block[..., 1:]).all())
            done += len(block)
            progress(done, total)
        file.flush()
        os.fsync(file.fileno())
    if done != total:
        raise UserError(f"expected {total} images, got {done}")
    return digest.sha256.hexdigest(), grey


class _HashingFile:
    """Writes to a file and keeps the checksum of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self.file.write(data)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{folder} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")


def _remove_abandoned(folder: Path, name: str) -> None:
    for path in folder.glob(f".{name}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
