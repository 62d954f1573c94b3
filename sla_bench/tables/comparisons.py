"""Costs of trainings, and the respects in which two are equal."""

from __future__ import annotations

from dataclasses import dataclass

from sla_bench.records.store import RunRecord
from sla_bench.scenarios.batches import TOLERANCE
from sla_bench.scenarios.form import views_in_training

_TUNED = "both tuned"
_EQUAL_IMAGES = "equal images"


@dataclass(frozen=True)
class Cost:
    """What a training took.

    Args:
        images: through the network, of all members.
        drawn: of them, each counted once for all its views and copies.
        updates: of the optimiser, of each member.
        batch: images through the network in an update.
        epochs: how often each member drew each of its training images, on average; None where the record
            does not say how many there are.
    """

    images: int
    drawn: int
    updates: int
    batch: int
    epochs: float | None = None


def cost_of(record: RunRecord) -> Cost:
    """Read the cost of a training off its record."""
    images, updates = int(record.done["train_images"]), record.updates
    drawn = images // views_in_training(record.config)
    # A history that was written elsewhere may count its steps from 0.
    pool = record.done.get("training_images") or sum(record.done.get("class_counts", ()))
    epochs = drawn / len(updates) / pool if pool else None
    return Cost(images, drawn, max(updates), round(images / max(1, sum(updates))), epochs)


def comparison(ours: Cost, theirs: Cost, tuned: bool) -> str:
    """Say what two rows have in common: "equal images, updates and batch", "4 x the images, equal updates".

    Args:
        ours: of a row.
        theirs: of its reference.
        tuned: rate and batch of both were chosen on validation data.
    """
    same = [
        name for name in ("images", "updates", "batch") if _equal(getattr(ours, name), getattr(theirs, name))
    ]
    if "images" in same:
        words = [_EQUAL_IMAGES if tuned else f"equal {_joined(same)}"]
    else:
        words = [f"{ours.images / theirs.images:.2g} x the images"]
        words += [f"equal {_joined(same)}"] if same and not tuned else []
    return ", ".join([*words, _TUNED] if tuned else words)


def is_matched_and_tuned(words: str | None) -> bool:
    """Say whether a comparison, in its words, is one that a verdict can rest on."""
    return words == f"{_EQUAL_IMAGES}, {_TUNED}"


def _equal(one: int, other: int) -> bool:
    return abs(one - other) <= TOLERANCE * max(one, other)


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
