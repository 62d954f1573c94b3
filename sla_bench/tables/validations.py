"""Validation accuracies of recorded trainings, for choices without test images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from sla_bench.records.store import RunRecord
from sla_bench.tables.terminal import label_without_seed


def validation_accuracy(history: pd.DataFrame, takes_best: bool) -> float:
    """Mean over the members of a run of their best, or else last, validation accuracy, in 0..1; else NaN.

    Args:
        history: data frame with the columns member and step, and val_accuracy if there was a validation.
        takes_best: best instead of last.
    """
    if "val_accuracy" not in history:
        return float("nan")
    members = history.sort_values("step").groupby("member")["val_accuracy"]
    return float((members.max() if takes_best else members.last()).mean())


def validation_of(record: RunRecord) -> float:
    """Validation accuracy of the weights that a training kept, in 0..1; NaN without validation images."""
    config: Any = record.config
    return validation_accuracy(record.history, config.selection == "validation")


def validation_lines(records: Iterable[RunRecord]) -> list[str]:
    """A line for each setting, the best first: mean validation accuracy over its seeds.

    Args:
        records: of one scenario.
    """
    found: dict[str, list[float]] = {}
    for record in records:
        run, asked = record.config, record.asked
        words = [label_without_seed(run, asked), run.backbone, run.precision, asked.label()]
        found.setdefault(", ".join(words), []).append(validation_of(record))
    means = {words: sum(values) / len(values) for words, values in found.items()}
    return [
        f"validation {100 * mean:.2f} %, {len(found[words])} seed{'s' * (len(found[words]) > 1)}: {words}"
        for words, mean in sorted(means.items(), key=lambda pair: -pair[1])
    ]
