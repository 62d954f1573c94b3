"""Images that we make ourselves: made once, kept as `.npy` files, opened as memory maps.

The description (`info.json`) is written last and removed first, so a folder without it is not complete. What
determines the pixels is part of the folder's name: after an update of a library the images are made again,
beside the old ones. Everything may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sla_bench.datasets.checksums import file_digest
from sla_bench.datasets.progress import Progress, terminal_progress
from sla_bench.errors import UserError


class Renderer(Protocol):
    """Makes the images of one part."""

    def __call__(self, part: str) -> Iterator[np.ndarray]:
        """Blocks uint8 (n, H, W, 3), in order."""


@dataclass(frozen=True)
class RenderedCache:
    """A folder with the parts of one data set.

    Args:
        root: `DATA_ROOT/prepared`.
        name: of the data set.
        definition: all that determines the pixels, as JSON values: seed, classes, versions of libraries.
        shapes: shape of each part, (N, H, W, 3).
    """

    root: Path
    name: str
    definition: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def folder(self) -> Path:
        """Where the parts lie."""
        text = json.dumps([self.definition, self.shapes], sort_keys=True)
        return self.root / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def files(self) -> list[Path]:
        """What exists of the description and the parts."""
        return [path for path in (self._info, *map(self._path, self.shapes)) if path.is_file()]

    def open(self, part: str, render: Renderer) -> np.ndarray:
        """Open one part; render all of them first if it is missing, truncated or altered.

        Processes that need the same images wait for the first one. A valid cache is only read, so its folder
        need not be writable.

        Args:
            part: one of `shapes`.
            render: called for each part if something must be made.

        Returns:
            A private memory map, uint8 of the part's shape: changes stay in the process, pages are shared.

        Raises:
            UserError: the folder cannot be written or the disk is full.
        """
        images = self._valid(part)
        if images is not None:
            return images
        from filelock import FileLock

        with self._explained():
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / f"{self.folder.name}.lock", fallback_to_soft=False)
            lock.acquire()
        try:
            images = self._valid(part)
            if images is None:
                self._make(render)
                images = self._valid(part)
        finally:
            lock.release()
        if images is None:
            raise UserError(
                f"{self._path(part)} does not read back as it was written: check the disk it is on"
            )
        return images

    @property
    def _info(self) -> Path:
        return self.folder / "info.json"

    def _path(self, part: str) -> Path:
        return self.folder / f"{part}.npy"

    def _valid(self, part: str) -> np.ndarray | None:
        path = self._path(part)
        try:
            digest = json.loads(self._info.read_text(encoding="utf-8"))["sha256"][part]
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None
        except OSError as error:
            raise UserError(f"cannot read {self._info}: {error.strerror or error}") from None
        if not path.is_file() or file_digest(path, "sha256") != digest:
            return None
        mapped: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
        return mapped

    def _make(self, render: Renderer) -> None:
        total = sum(shape[0] for shape in self.shapes.values())
        with self._explained():
            self.folder.mkdir(exist_ok=True)
            self._info.unlink(missing_ok=True)
        done = 0
        digests = {}
        with terminal_progress(f"Rendering {self.name} ({total:,} images, once)") as progress:
            for part, shape in self.shapes.items():
                blocks = _reporting(render(part), progress, done, total)
                digests[part] = self._write(self._path(part), shape, blocks)
                done += shape[0]
        info = {**self.definition, "shapes": self.shapes, "sha256": digests}
        temporary = _temporary(self._info)
        with self._explained():
            temporary.write_text(json.dumps(info, indent=1), encoding="utf-8")
            temporary.replace(self._info)

    def _write(self, path: Path, shape: tuple[int, ...], blocks: Iterator[np.ndarray]) -> str:
        # Ordinary writes, not a writable map: on a full disk the former raise, the latter kill the process.
        temporary = _temporary(path)
        digest = hashlib.sha256()
        try:
            with self._explained():
                file = temporary.open("wb")
            with file:
                for data in _npy_bytes(shape, blocks):
                    digest.update(data)
                    with self._explained():
                        file.write(data)
                with self._explained():
                    file.flush()
            with self._explained():
                temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return digest.hexdigest()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            megabytes = sum(int(np.prod(shape)) for shape in self.shapes.values()) / 1e6
            raise UserError(
                f"cannot write {self.folder} ({error.strerror or error}); {self.name} needs "
                f"{megabytes:.0f} MB in a folder that can be written: name another one with --data-root"
            ) from None


def _temporary(path: Path) -> Path:
    # The lock admits one writer, so a fixed name is enough, and what a killed one left is overwritten.
    return path.with_name(f".{path.name}.part")


def _npy_bytes(shape: tuple[int, ...], blocks: Iterator[np.ndarray]) -> Iterator[bytes | memoryview]:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    )
    yield header.getvalue()
    count = 0
    for block in blocks:
        yield np.ascontiguousarray(block).data.cast("B")
        count += len(block)
    if count != shape[0]:
        raise RuntimeError(f"{shape[0]} images were promised, {count} rendered")


def _reporting(
    blocks: Iterator[np.ndarray], progress: Progress, done: int, total: int
) -> Iterator[np.ndarray]:
    for block in blocks:
        yield block
        done += len(block)
        progress(done, total)
