"""Checkpoints of a training of two stages, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sla_bench.training.loop import Checkpoints

_FIRST_OF_SECOND = 10**8
"""Added to the steps of the second stage, whose checkpoints are thus the newer ones."""


def two_stages(checkpoints: Checkpoints | None) -> tuple[Checkpoints | None, Checkpoints | None]:
    """The checkpoints of the first and the second stage, kept together as those of one training.

    Each stage finds its own newest one. The first stage of a training that was left in its second one finds
    the state of its end, which each checkpoint of the second stage carries.
    """
    if checkpoints is None:
        return None, None
    first = _First(checkpoints)
    return first, _Second(checkpoints, first)


@dataclass
class _First:
    """Checkpoints of the first stage; the last one that was saved or loaded is its end, once it has ended."""

    kept: Checkpoints
    end: dict[str, Any] | None = None

    def due(self) -> bool:
        return self.kept.due()

    def save(self, step: int, content: dict[str, Any]) -> None:
        self.end = content
        self.kept.save(step, {"first": content})

    def load(self) -> dict[str, Any] | None:
        content = self.kept.load()
        self.end = None if content is None else content["first"]
        return self.end


@dataclass
class _Second:
    """Checkpoints of the second stage."""

    kept: Checkpoints
    first: _First

    def due(self) -> bool:
        return self.kept.due()

    def save(self, step: int, content: dict[str, Any]) -> None:
        self.kept.save(_FIRST_OF_SECOND + step, {"first": self.first.end, "second": content})

    def load(self) -> dict[str, Any] | None:
        content = self.kept.load()
        return None if content is None else content.get("second")
