"""The C library's memory in a worker: kept while training, then returned."""

from __future__ import annotations

import ctypes
import os

# glibc maps blocks above 32 MiB anew at each allocation and gives freed memory back at once; activations of a
# batch with four views are such blocks, and new pages take a fifth of a training step.
_KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(48 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}


def let_workers_keep_memory() -> None:
    """Set what glibc reads when a process starts; values that the user has set stay. Ignored elsewhere."""
    for name, size in _KEEPING.items():
        os.environ.setdefault(name, size)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        # Not glibc: it keeps less in the first place.
        return
