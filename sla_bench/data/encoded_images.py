"""Image files become blocks of pixels, decoded by threads or processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sla_bench.data.base import Fit
from sla_bench.data.depth import Depth
from sla_bench.data.image_files import decode
from sla_bench.errors import UserError

_BLOCK = 64  # images; 12 MB at 256 x 256


class Unreadable(NamedTuple):
    """An image that can't be decoded: its position, and the sentence that names it and says why."""

    position: int
    message: str


class Block(NamedTuple):
    """Consecutive images: pixels uint8 (n, size, size, 3) of those that can be read, and the others."""

    pixels: np.ndarray
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True)
class EncodedImages:
    """Images that still have to be decoded.

    Args:
        images: files, or their contents as bytes or uint8 (b,).
        size: height = width of the results in pixels.
        fit: as in `decode`.
        name: name of the image at a position, for messages.
        base: folder to which `short_name` is relative.
        negative: bright and dark are exchanged.
        depth: as in `decode`.
    """

    images: Sequence[Path | bytes | np.ndarray]
    size: int
    fit: Fit
    name: Callable[[int], str]
    base: Path | None = None
    negative: bool = False
    depth: Depth | None = None

    def __len__(self) -> int:
        return len(self.images)

    def short_name(self, position: int) -> str:
        """Path of an image below `base`; its name where it is no file there."""
        image = self.images[position]
        if isinstance(image, Path) and self.base is not None and image.is_relative_to(self.base):
            return image.relative_to(self.base).as_posix()
        return self.name(position)

    def blocks(self, start: int = 0, workers: int | None = None) -> Iterator[Block]:
        """Decode all images from a position on, with a few blocks in flight.

        Args:
            start: position of the first image.
            workers: processes; None decodes in threads of this process, one per core that it may use.

        Raises:
            UserError: a process died.
        """
        starts = range(start, len(self.images), _BLOCK)
        if len(starts) <= 1:
            yield from (_decode_block(*self._work(first)) for first in starts)
            return
        count = min(workers or available_cores(), len(starts))
        waiting: deque[Future[Block]] = deque()
        with _pool(count, in_processes=workers is not None) as pool:
            try:
                for first in starts:
                    waiting.append(pool.submit(_decode_block, *self._work(first)))
                    if len(waiting) > 2 * count:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            except BrokenProcessPool:
                raise UserError(
                    "a process that decodes images died, perhaps for lack of memory; the same command "
                    "resumes, with fewer --workers if need be"
                ) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def chosen(self, positions: Iterable[int]) -> Iterator[Block]:
        """Decode some images, one at a time."""
        return (_decode_block(*self._work(position, 1)) for position in positions)

    def _work(
        self, first: int, count: int = _BLOCK
    ) -> tuple[list[Path | bytes], list[str], int, int, Fit, Depth | None, bool]:
        """What decodes the block that begins at a position."""
        positions = range(first, min(first + count, len(self.images)))
        images = [_picklable(self.images[position]) for position in positions]
        names = [self.name(position) for position in positions]
        return images, names, first, self.size, self.fit, self.depth, self.negative

    def pixels(self) -> Iterator[np.ndarray]:
        """All images, uint8 (n, size, size, 3) at a time.

        Raises:
            UserError: one of them can't be decoded.
        """
        for block in self.blocks():
            if block.unreadable:
                raise UserError(block.unreadable[0].message)
            yield block.pixels


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _picklable(image: Path | bytes | np.ndarray) -> Path | bytes:
    return image.tobytes() if isinstance(image, np.ndarray) else image


def _decode_block(
    images: Sequence[Path | bytes],
    names: Sequence[str],
    first: int,
    size: int,
    fit: Fit,
    depth: Depth | None,
    negative: bool,
) -> Block:
    pixels = np.empty((len(images), size, size, 3), np.uint8)
    unreadable: list[Unreadable] = []
    for offset, (image, name) in enumerate(zip(images, names, strict=True)):
        try:
            pixels[offset - len(unreadable)] = decode(image, size, fit, name, depth)
        except UserError as error:
            unreadable.append(Unreadable(first + offset, str(error)))
    kept = pixels[: len(images) - len(unreadable)]
    return Block(255 - kept if negative else kept, tuple(unreadable))


def _pool(workers: int, in_processes: bool) -> Executor:
    if not in_processes:
        return ThreadPoolExecutor(workers)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and don't survive it: a killed one says no goodbye."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
