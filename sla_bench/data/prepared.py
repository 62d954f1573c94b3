"""Prepared images: memory maps, written block by block, resumed after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sla_bench.data.base import LabeledImages
from sla_bench.data.preparation import IN_THREADS, Preparation, Progress
from sla_bench.data.sources import Block, SplitSource
from sla_bench.errors import UserError

FORMAT = 3
"""Counts up when maps are written otherwise, or the same files would become other pixels."""


@dataclass(frozen=True)
class MapDescription:
    """What stands beside a map.

    Args:
        shape: (N, H, W, 3).
        labels: N values 0..C-1.
        class_names: C names.
        grey: the three channels of every image are equal.
        sha256: of the pixels, without the header of their file.
        layout: name of the layout that was converted.
        source: folder that was converted.
        fingerprint: of the files in it, as `kept.fingerprint`.
        left_out: images that could not be decoded, by their path below `source`.
    """

    shape: list[int]
    labels: list[int]
    class_names: list[str]
    grey: bool
    sha256: str
    layout: str
    source: str
    fingerprint: str
    left_out: list[str] = field(default_factory=list)


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
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} is damaged; delete {folder} and prepare the data set again") from None
    return description if map_path(folder, name).is_file() else None


def description_or_none(folder: Path, name: str) -> MapDescription | None:
    """The description of a map; None where there is none that can be read."""
    try:
        return read_description(folder, name)
    except UserError:
        return None


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


def verify_map(folder: Path, name: str) -> str:
    """Compare the pixels with the checksum that was taken when they were written: "ok" or "bad"."""
    try:
        description = read_description(folder, name)
        if description is None:
            return "bad"
        with map_path(folder, name).open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            same = hashlib.file_digest(file, "sha256").hexdigest() == description.sha256
        return "ok" if same else "bad"
    except (UserError, OSError, ValueError):
        return "bad"


_READ_BYTES = 1 << 24


@dataclass(frozen=True)
class Origin:
    """Where a split comes from: name of the layout, folder with the files, and their fingerprint."""

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
    """Write one split as a map, never in memory as a whole; a second process waits for the first one.

    Args:
        folder: usually `DATA_ROOT/prepared/NAME`; made where missing.
        name: usually the split.
        source: the images.
        origin: where they come from.
        progress: called at the start and after each block.
        how: by how many threads, and what happens to images that can't be decoded.

    Returns:
        The file with the pixels.

    Raises:
        UserError: folder not writable, disk full, or damaged images. What was decoded is kept for the next
            call.
    """  # noqa: DOC501
    from filelock import FileLock

    make_folder(folder, source)
    try:
        with FileLock(folder.with_name(f"{folder.name}.lock"), fallback_to_soft=False):
            if not _is_made(folder, name, origin, how):
                _Writing(folder, name, source, origin).run(progress, how)
    except OSError as error:
        raise _unwritable(folder, source, error) from None
    return map_path(folder, name)


def make_folder(folder: Path, source: SplitSource) -> None:
    """Make the folder of a map of these images.

    Raises:
        UserError: it can't be made.
    """  # noqa: DOC501
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, source, error) from None


def _unwritable(folder: Path, source: SplitSource, error: OSError) -> UserError:
    return UserError(
        f"cannot write {folder} ({error.strerror or error}); --data-root must name a folder that can be "
        f"written, with {source.num_bytes / 1e9:.1f} GB free"
    )


def _is_made(folder: Path, name: str, origin: Origin, how: Preparation) -> bool:
    """Another process made it while this one waited."""
    made = description_or_none(folder, name)
    wanted = (origin.layout, str(origin.folder.resolve()), origin.fingerprint)
    return (
        made is not None
        and (made.layout, made.source, made.fingerprint) == wanted
        and (how.skip_bad or not made.left_out)
        and verify_map(folder, name) == "ok"
    )


@dataclass
class _Notes:
    """How far the pixels are.

    Args:
        key: of all that determines the pixels.
        read: images of the source that are dealt with.
        left_out: positions of images that could not be decoded.
        grey: the three channels of every image so far are equal.
        sha256: of the pixels so far.
    """

    key: str
    read: int = 0
    left_out: list[int] = field(default_factory=list)
    grey: bool = True
    sha256: str = hashlib.sha256().hexdigest()

    @property
    def written(self) -> int:
        """Images whose pixels are in the file."""
        return self.read - len(self.left_out)


class _Writing:
    """Pixels that grow under a temporary name.

    Where images are decoded one by one, notes beside the pixels say how far they are: a later call resumes
    there, if the pixels and everything that determines them are the same.
    """

    def __init__(self, folder: Path, name: str, source: SplitSource, origin: Origin) -> None:
        self._folder, self._name, self._source, self._origin = folder, name, source, origin
        self._path, self._notes_path = folder / f".{name}.part", folder / f".{name}.part.json"
        self._notes, self._digest = _Notes(_key(source, origin)), hashlib.sha256()
        self._image_bytes = int(np.prod(source.shape[1:]))

    def run(self, progress: Progress, how: Preparation) -> None:
        """Write what is missing, then give the pixels their name and put the description beside them."""
        try:
            with self._opened(how) as file:
                self._fill(file, progress, how)
        except BaseException:
            if self._source.encoded is None or not self._notes.read:
                self._discard()
            raise
        description = self._description()
        # An equal description may stay: whoever opens the map meanwhile finds the same pixels.
        if description_or_none(self._folder, self._name) != description:
            (self._folder / f"{self._name}.json").unlink(missing_ok=True)
        temporary = _written(self._path, {"format": FORMAT, **vars(description)})
        self._path.replace(map_path(self._folder, self._name))
        temporary.replace(self._folder / f"{self._name}.json")
        self._discard()

    def _opened(self, how: Preparation) -> BinaryIO:
        """The file at the end of its pixels, after a look at the free space."""
        file = self._resumed(how)
        needed = self._source.num_bytes - self._notes.written * self._image_bytes
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise UserError(f"{self._folder} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
        if file is None:
            self._discard()
            file = self._path.open("wb")
            file.write(_header(self._source.shape))
        return file

    def _resumed(self, how: Preparation) -> BinaryIO | None:
        """The open file where it is as its notes say; None where there is nothing to resume."""
        try:
            notes = _Notes(**json.loads(self._notes_path.read_text(encoding="utf-8")))
            if notes.key != self._notes.key:
                return None
            file = self._path.open("r+b")
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        digest, left = hashlib.sha256(), notes.written * self._image_bytes
        file.seek(len(_header(self._source.shape)))
        while left and (data := file.read(min(_READ_BYTES, left))):
            digest.update(data)
            left -= len(data)
        again = bool(left) or digest.hexdigest() != notes.sha256
        if not again and notes.left_out and not how.skip_bad and self._source.encoded is not None:
            # Images that a call with --skip-bad left out: all of them must be readable now.
            self._notes = notes
            for block in self._source.encoded.chosen(notes.left_out):
                _refuse_unreadable(block)
            again = True
        if again:
            file.close()
            self._notes = _Notes(notes.key)
            return None
        file.truncate()
        self._notes, self._digest = notes, digest
        return file

    def _fill(self, file: BinaryIO, progress: Progress, how: Preparation) -> None:
        source, total, read = self._source, self._source.shape[0], self._notes.read
        progress(read, total)
        blocks = source.encoded.blocks(read, how.workers) if source.encoded else map(Block, source.blocks())
        for block in blocks:
            if not how.skip_bad:
                _refuse_unreadable(block)
            self._append(file, block)
            progress(self._notes.read, total)
        if self._notes.read != total:
            raise RuntimeError(f"{total} images were promised, {self._notes.read} came")
        # The number of images is known now; the header has room for any.
        file.seek(0)
        file.write(_header((self._notes.written, *source.shape[1:])))
        file.flush()
        os.fsync(file.fileno())

    def _append(self, file: BinaryIO, block: Block) -> None:
        # Ordinary writes, not a writable map: on a full disk the former raise, the latter kill the process.
        pixels, notes = np.ascontiguousarray(block.pixels), self._notes
        file.write(pixels.data)
        self._digest.update(pixels.data)
        notes.sha256 = self._digest.hexdigest()
        notes.grey = notes.grey and bool((pixels[..., :1] == pixels[..., 1:]).all())
        notes.left_out += [unreadable.position for unreadable in block.unreadable]
        notes.read += len(pixels) + len(block.unreadable)
        if self._source.encoded is not None:
            file.flush()
            _written(self._notes_path, asdict(notes)).replace(self._notes_path)

    def _description(self) -> MapDescription:
        source, notes, origin = self._source, self._notes, self._origin
        kept = np.delete(source.labels, notes.left_out)
        empty = np.flatnonzero(np.bincount(kept, minlength=len(source.class_names)) == 0)
        if len(empty):
            self._discard()
            raise UserError(
                f"{len(notes.left_out):,} images can't be decoded, and {len(empty)} of "
                f"{len(source.class_names)} classes have no other, {source.class_names[empty[0]]!r} for "
                "example; fix some of them"
            )
        return MapDescription(
            shape=[len(kept), *source.shape[1:]],
            labels=kept.tolist(),
            class_names=list(source.class_names),
            grey=notes.grey,
            sha256=notes.sha256,
            layout=origin.layout,
            source=str(origin.folder.resolve()),
            fingerprint=origin.fingerprint,
            left_out=[source.encoded.short_name(i) for i in notes.left_out] if source.encoded else [],
        )

    def _discard(self) -> None:
        for path in (self._path, self._notes_path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _written(beside: Path, content: dict[str, Any]) -> Path:
    """A temporary JSON file beside another file."""
    temporary = beside.with_name(f"{beside.name}.new")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    return temporary


def _refuse_unreadable(block: Block) -> None:
    if block.unreadable:
        raise UserError(
            f"{block.unreadable[0].message}; fix it, or leave such images out: datasets prepare --skip-bad"
        )


def _header(shape: tuple[int, ...]) -> bytes:
    """The head of an `.npy` file; numpy leaves room for a first dimension of any size."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    )
    return buffer.getvalue()


def _key(source: SplitSource, origin: Origin) -> str:
    """Identifies all that determines the pixels."""
    of = (FORMAT, origin.layout, str(origin.folder.resolve()), origin.fingerprint)
    digest = hashlib.sha256(repr((*of, source.shape, source.class_names)).encode())
    digest.update(np.ascontiguousarray(source.labels).data)
    if source.encoded is not None:
        digest.update(source.encoded.fit.encode())
        for image in source.encoded.images:
            digest.update(os.fsencode(image) if isinstance(image, Path) else b"\0")
    return digest.hexdigest()
