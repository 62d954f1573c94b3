"""A memory map that is being written: pixels under a temporary name, which get theirs when all are there.

Where images are decoded one by one, notes beside the pixels say how far they are and what their checksum is
so far: a later call goes on there, if the pixels and everything that determines them are still the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from sla_bench.datasets.encoded_images import Block
from sla_bench.datasets.memory_map import FORMAT, MapDescription, map_path, read_description
from sla_bench.datasets.preparation import Preparation
from sla_bench.datasets.progress import Progress
from sla_bench.datasets.sources import SplitSource
from sla_bench.errors import UserError

_READ_BYTES = 1 << 24


@dataclass
class Notes:
    """How far a part is.

    Args:
        key: of all that determines the pixels.
        read: images of the source that are dealt with.
        left_out: positions of those of them that could not be decoded.
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


class MapPart:
    """The file of pixels that grows, and the notes on it. A context: open in between.

    Args:
        path: of the pixels; the notes lie beside it.
        source: the images.
        key: identifies all that determines the pixels.
    """

    def __init__(self, path: Path, source: SplitSource, key: str) -> None:
        self._path, self._notes_path = path, path.with_name(f"{path.name}.json")
        self._source = source
        self._header = _header(source.shape)
        self._image_bytes = int(np.prod(source.shape[1:]))
        self.notes = Notes(key)

    @property
    def num_bytes(self) -> int:
        """Bytes of pixels that are there."""
        return self.notes.written * self._image_bytes

    def __enter__(self) -> None:
        self._digest = hashlib.sha256()
        self._file: IO[bytes] = self._resumed() or self._begun()

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        # Whatever goes wrong in a full disk's last write has been said before.
        with contextlib.suppress(OSError):
            self._file.close()
        if kind is not None and (self._source.encoded is None or not self.notes.read):
            self.discard()

    def fill(self, progress: Progress, how: Preparation) -> None:
        """Write what is missing.

        Args:
            progress: called at the start and after each block.
            how: by how many processes, and what happens to images that can't be decoded.

        Raises:
            UserError: an image can't be decoded, or there are more or fewer than the source promised.
        """  # noqa: DOC501
        if self.notes.left_out and not how.skip_bad:
            self._try_again()
        total = self._source.shape[0]
        progress(self.notes.read, total)
        for block in _blocks(self._source, self.notes.read, how.workers):
            if block.unreadable and not how.skip_bad:
                raise _stopped(block.unreadable[0].message)
            self._append(block)
            progress(self.notes.read, total)
        if self.notes.read != total:
            raise UserError(f"expected {total} images, got {self.notes.read}")
        # The number of images is known now; the header has room for any.
        self._file.seek(0)
        self._file.write(_header((self.notes.written, *self._source.shape[1:]), len(self._header)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def publish(self, folder: Path, name: str, description: MapDescription) -> None:
        """Give the pixels their name and put the description beside them."""
        # An equal description may stay: whoever opens the map meanwhile finds the same pixels.
        if description_or_none(folder, name) != description:
            (folder / f"{name}.json").unlink(missing_ok=True)
        temporary = self._path.with_name(f"{self._path.name}.new")
        temporary.write_text(json.dumps({"format": FORMAT, **vars(description)}), encoding="utf-8")
        self._path.replace(map_path(folder, name))
        temporary.replace(folder / f"{name}.json")
        self.discard()

    def discard(self) -> None:
        """Remove the pixels and the notes."""
        for path in (self._path, self._notes_path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _begun(self) -> IO[bytes]:
        self.discard()
        file = self._path.open("wb")
        file.write(self._header)
        return file

    def _try_again(self) -> None:
        """Begin anew if all images that an earlier call left out can be decoded now."""
        encoded = self._source.encoded
        for block in encoded.chosen(self.notes.left_out) if encoded else ():
            if block.unreadable:
                raise _stopped(block.unreadable[0].message)
        self._file.close()
        self.notes, self._digest = Notes(self.notes.key), hashlib.sha256()
        self._file = self._begun()

    def _resumed(self) -> IO[bytes] | None:
        """The open file where it is as its notes say; None where there is nothing to go on with."""
        try:
            notes = Notes(**json.loads(self._notes_path.read_text(encoding="utf-8")))
            if notes.key != self.notes.key:
                return None
            file = self._path.open("r+b")
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        left = notes.written * self._image_bytes
        file.seek(len(self._header))
        while left and (data := file.read(min(_READ_BYTES, left))):
            self._digest.update(data)
            left -= len(data)
        if left or self._digest.hexdigest() != notes.sha256:
            file.close()
            self._digest = hashlib.sha256()
            return None
        file.seek(len(self._header) + notes.written * self._image_bytes)
        file.truncate()
        self.notes = notes
        return file

    def _append(self, block: Block) -> None:
        # Ordinary writes, not a writable map: on a full disk the former raise, the latter kill the process.
        pixels, notes = np.ascontiguousarray(block.pixels), self.notes
        self._file.write(pixels.data)
        self._digest.update(pixels.data)
        notes.sha256 = self._digest.hexdigest()
        notes.grey = notes.grey and bool((pixels[..., :1] == pixels[..., 1:]).all())
        notes.left_out += [unreadable.position for unreadable in block.unreadable]
        notes.read += len(pixels) + len(block.unreadable)
        if self._source.encoded is not None:
            self._file.flush()
            temporary = self._notes_path.with_name(f"{self._notes_path.name}.new")
            temporary.write_text(json.dumps(asdict(notes)), encoding="utf-8")
            temporary.replace(self._notes_path)


def _stopped(message: str) -> UserError:
    return UserError(f"{message}; mend it, or leave such images out: datasets prepare --skip-bad")


def _blocks(source: SplitSource, start: int, workers: int | None) -> Iterator[Block]:
    if source.encoded is not None:
        yield from source.encoded.blocks(start, workers)
        return
    for pixels in source.blocks():
        yield Block(pixels)


def _header(shape: tuple[int, ...], length: int | None = None) -> bytes:
    """The head of an `.npy` file, which keeps its length whatever the number of images."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    )
    if length not in (None, buffer.tell()):
        raise RuntimeError(f"the header of {shape} has {buffer.tell()} bytes, not {length}")
    return buffer.getvalue()


def description_or_none(folder: Path, name: str) -> MapDescription | None:
    """The description of a map; None where there is none that can be read."""
    try:
        return read_description(folder, name)
    except UserError:
        return None
