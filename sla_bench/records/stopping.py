"""Stops a run on request: its training leaves a checkpoint first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 20.0
"""From asking a run to stop until its process is killed; batch schedulers give 30 seconds and more."""


class StoppedError(BaseException):
    """The run has stopped where it was asked to; like an interrupt, it is no error of the run."""


class Stop:
    """Whether the run was asked to stop."""

    def __init__(self) -> None:
        self.wanted = False

    def check(self) -> None:
        """Leave the run if it was asked to stop.

        Raises:
            StoppedError: it was.
        """
        if self.wanted:
            raise StoppedError


@contextmanager
def stop_on(signal_number: int) -> Iterator[Stop]:
    """Let a signal ask the run inside to stop, instead of what it does otherwise. Main thread only."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.wanted = True

    before = signal.signal(signal_number, ask)
    try:
        yield stop
    finally:
        signal.signal(signal_number, before)
