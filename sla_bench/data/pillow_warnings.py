"""Hides Pillow's warnings: they name lines of Pillow, never the picture."""

from __future__ import annotations

import threading
import warnings
from types import TracebackType


class _Quiet:
    """Silences Pillow in all threads while one is inside: overlapping `catch_warnings` undo each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._outer = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._outer = warnings.catch_warnings()
                self._outer.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._outer.__exit__(None, None, None)


QUIET_PILLOW = _Quiet()
