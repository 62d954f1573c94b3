"""What every scenario gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

ANY_TRANSFORM = "rotation"
"""Stands in where a training has no views (config.transform is None) and so does not depend on it."""


@dataclass
class Training:
    """Result of `run`.

    Args:
        state: state dict of all members, keys `members.<k>.<name>`.
        history: rows of all members, with the column `member`.
        summary: train_images (through the backbone, forward and backward), train_seconds, parameters,
            best_step and val_accuracy of each member, and what a scenario adds.
    """

    state: dict[str, Tensor]
    history: list[dict[str, float]]
    summary: dict[str, Any]


@dataclass
class Evaluation:
    """Result of `evaluate`: metrics per row, and arrays from which each figure can be computed again."""

    metrics: dict[str, dict[str, Any]]
    samples: dict[str, np.ndarray] = field(default_factory=dict)


def member_state(state: dict[str, Tensor], member: int) -> dict[str, Tensor]:
    """The state dict of one member, from `Training.state`."""
    prefix = f"members.{member}."
    return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}


def first_images(labels: np.ndarray, per_class: int | None) -> np.ndarray:
    """Return the positions of the first `per_class` images of each class, ascending; None means all."""
    if per_class is None:
        return np.arange(len(labels))
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < per_class])
