"""Trainings at a learning rate that was chosen for them: rows of their own beside those of the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sla_bench.harness.store import RunRecord
from sla_bench.tuning import at_recipe_rate, group_of


def with_tuned(records: Iterable[RunRecord], rates: Mapping[str, float]) -> list[RunRecord]:
    """Return the records, those at a chosen learning rate marked as tuned.

    Where the chosen rate is the recipe's, the training stands twice: as the recipe's and as the tuned one.

    Args:
        records: of a store.
        rates: `tuning.group_of` -> learning rate.
    """
    if not rates:
        return list(records)
    found = []
    for record in records:
        run = record.config
        is_chosen = rates.get(group_of(run)) == run.learning_rate
        if not is_chosen or run == at_recipe_rate(run):
            found.append(record)
        if is_chosen:
            found.append(replace(record, tuned=True))
    return found
