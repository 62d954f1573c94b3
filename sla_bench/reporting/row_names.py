"""What the name of a leaderboard row says, whatever the scenario."""

from __future__ import annotations

BASELINE = "baseline"
SAME_BUT_LONGER = {BASELINE: "baseline-xM", "baseline+TTA": "baseline-xM+TTA"}
"""A row -> the row of the same training with M times the steps, read in the same way."""


_TRAINED_ON_VIEWS = frozenset({"DA", "MT"})
"""Rows of fixed classes whose head for classes was trained on all views."""


def reads_untrained_views(row: str) -> bool:
    """Say whether a row of fixed classes is read on views that its head for classes never saw."""
    return row.endswith("+TTA") and row.removesuffix("+TTA") not in _TRAINED_ON_VIEWS


def averages_views(row: str) -> bool:
    """Say whether a row, or the reference that is named with it, is an average over views (+TTA)."""
    return "+TTA" in row


def augments_labels(method: str) -> bool:
    """Say whether a row is of self-supervised label augmentation, and not of a baseline or control."""
    return method.lower().startswith("sla")
