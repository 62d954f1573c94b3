"""What the name of a leaderboard row says, whatever the scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BASELINE = "baseline"
SAME_BUT_LONGER = {BASELINE: "baseline-xM", "baseline+TTA": "baseline-xM+TTA"}
"""A row -> the row of the same training with M times the steps, read in the same way."""


def at_batch(name: str, images: int | None) -> str:
    """The name of a row, or of a method, at a batch of so many images; the recipe's (None) is not told."""
    return name if images is None else f"{name} (batch {images})"


def averages_views(row: str) -> bool:
    """Say whether a row, or the reference named with it, is an average over views (+TTA) or crops."""
    return "+TTA" in row or "+crops" in row


def reads_unknown_views(row: str) -> bool:
    """Say whether a row of a classifier is an average over views that its head was never trained on."""
    return "+TTA" in row and row.partition("+TTA")[0] not in ("DA", "MT")


def draws_more_classes(row: Mapping[Any, Any]) -> bool:
    """Say whether a row, or its reference, is a control with M times the ways and so the distinct images."""
    return any("-NMway" in row[name] for name in ("method", "reference") if isinstance(row[name], str))


def augments_labels(method: str) -> bool:
    """Say whether a row is of self-supervised label augmentation, and not of a baseline or control."""
    return method.lower().startswith("sla")
