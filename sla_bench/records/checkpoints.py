"""Checkpoints of an unfinished training: plain types, complete or absent, two kept."""

# A file is a SHA-256 (32 bytes), then `torch.save` of a tree of tensors, numbers, texts, lists and dicts. A
# file with another checksum or format is skipped, and the checkpoint before is used.

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import torch

from sla_bench.records.files import write_atomically
from sla_bench.records.in_progress import Stop

FORMAT = 1
KEPT = 2
_SUM_BYTES = 32
# What PyTorch raises for a file that is none of its own, or that asks for more than tensors.
_UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError,
    IndexError, OverflowError, MemoryError, AssertionError, struct.error,
)  # fmt: skip


class FileCheckpoints:
    """Checkpoints of the models of one run, a folder for each.

    Args:
        folder: of the run's checkpoints; made when the first one is written.
        seconds: between two of them; 0 writes one at each step.
        stop: once it is wanted, one is written at the next step, and the training left.
    """

    def __init__(self, folder: Path, seconds: float, stop: Stop | None = None) -> None:
        self.folder, self.seconds = folder, seconds
        self.stop = stop or Stop()
        self._last = time.monotonic()

    def member(self, number: int) -> FileCheckpoints:
        """Those of the run's model of that number."""
        return FileCheckpoints(self.folder / str(number), self.seconds, self.stop)

    def due(self) -> bool:
        """Enough time has passed since the last one, or since the start; or the run is asked to stop."""
        return self.stop.wanted or time.monotonic() - self._last >= self.seconds

    def save(self, step: int, content: dict[str, Any]) -> None:
        """Write a checkpoint and remove all but the newest two.

        Args:
            step: steps done; names the file.
            content: tensors and plain types.

        Raises:
            UserError: no permission, or the disk is full; earlier checkpoints stay.
            StoppedError: it is written, and the run was asked to stop.
        """
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, **content}, buffer)
        payload = buffer.getbuffer()
        digest = hashlib.sha256(payload).digest()

        def write(file: Any) -> None:
            file.write(digest)
            file.write(payload)

        write_atomically(self.folder / f"step-{step:09}.pt", write)
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)
        self._last = time.monotonic()
        self.stop.check()

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole; None where there is none."""
        for path in self._files():
            if (content := _read(path)) is not None:
                return content
        return None

    def remove(self) -> None:
        """Delete them all: the training is recorded."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    payload = raw[_SUM_BYTES:]
    if hashlib.sha256(payload).digest() != raw[:_SUM_BYTES]:
        return None
    try:
        content = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    except _UNREADABLE:
        return None
    return content if isinstance(content, dict) and content.get("format") == FORMAT else None
