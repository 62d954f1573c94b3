"""Converting a split into a memory map: in blocks, from where a killed process stopped (`map_part.py`)."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sla_bench.datasets.map_part import MapPart, description_or_none
from sla_bench.datasets.memory_map import FORMAT, MapDescription, map_path, verify_map
from sla_bench.datasets.preparation import IN_THREADS, Preparation
from sla_bench.datasets.progress import Progress
from sla_bench.datasets.sources import SplitSource
from sla_bench.errors import UserError


@dataclass(frozen=True)
class Origin:
    """Where a split comes from.

    Args:
        layout: name of the layout it lies in.
        folder: folder it lies in.
        fingerprint: of its files.
    """

    layout: str
    folder: Path
    fingerprint: str


def write_map(
    folder: Path,
    name: str,
    source: SplitSource,
    origin: Origin,
    progress: Progress,
    how: Preparation = IN_THREADS,
) -> Path:
    """Write one split as a map, never in memory as a whole.

    A second process that wants the same waits for the first one.

    Args:
        folder: usually `DATA_ROOT/prepared/NAME`; made where missing.
        name: usually the split.
        source: the images.
        origin: where they come from.
        progress: called at the start and after each block.
        how: by how many processes, and what happens to images that can't be decoded.

    Returns:
        The file with the pixels.

    Raises:
        UserError: folder not writable, disk full, or damaged images. What was decoded is kept for the next
            call.
    """
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock"), fallback_to_soft=False):
            if not _is_made(folder, name, origin, how):
                _make(folder, name, source, origin, progress, how)
    except OSError as error:
        raise UserError(
            f"cannot write {folder} ({error.strerror or error}); --data-root must name a folder that can be "
            f"written, with {source.num_bytes / 1e9:.1f} GB free"
        ) from None
    return map_path(folder, name)


def _is_made(folder: Path, name: str, origin: Origin, how: Preparation) -> bool:
    """Another process made it while this one waited."""
    made = description_or_none(folder, name)
    return (
        made is not None
        and (made.layout, made.source) == (origin.layout, str(origin.folder.resolve()))
        and made.fingerprint == origin.fingerprint
        and (how.skip_bad or not made.left_out)
        and verify_map(folder, name) == "ok"
    )


def _make(
    folder: Path, name: str, source: SplitSource, origin: Origin, progress: Progress, how: Preparation
) -> None:
    part = MapPart(folder / f".{name}.part", source, _key(source, origin))
    with part:
        _check_space(folder, source.num_bytes - part.num_bytes)
        part.fill(progress, how)
    notes = part.notes
    kept = np.delete(source.labels, notes.left_out)
    empty = np.flatnonzero(np.bincount(kept, minlength=len(source.class_names)) == 0)
    if len(empty):
        part.discard()
        raise UserError(
            f"{len(notes.left_out):,} images can't be decoded, and {len(empty)} of {len(source.class_names)} "
            f"classes have no other, {source.class_names[empty[0]]!r} for example; mend some of them"
        )
    encoded = source.encoded
    description = MapDescription(
        shape=[len(kept), *source.shape[1:]],
        labels=kept.tolist(),
        class_names=list(source.class_names),
        grey=notes.grey,
        sha256=notes.sha256,
        layout=origin.layout,
        source=str(origin.folder.resolve()),
        fingerprint=origin.fingerprint,
        left_out=[encoded.short_name(position) for position in notes.left_out] if encoded else [],
    )
    part.publish(folder, name, description)


def _key(source: SplitSource, origin: Origin) -> str:
    """Identifies all that determines the pixels."""
    digest = hashlib.sha256(
        repr(
            (
                FORMAT,
                origin.layout,
                str(origin.folder.resolve()),
                origin.fingerprint,
                source.shape,
                source.class_names,
            )
        ).encode()
    )
    digest.update(np.ascontiguousarray(source.labels).data)
    if source.encoded is not None:
        digest.update(source.encoded.fit.encode())
        for image in source.encoded.images:
            digest.update(os.fsencode(image) if isinstance(image, Path) else b"\0")
    return digest.hexdigest()


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{folder} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
