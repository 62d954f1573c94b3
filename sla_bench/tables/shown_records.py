"""The records of a store behind tables, plots and report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sla_bench.grids.tuning import Choice, choice_of, group_of
from sla_bench.records.data_states import of_states, shown_states
from sla_bench.records.store import RunRecord, Store
from sla_bench.records.tuning_file import TuningFile


def shown_records(store: Store) -> list[RunRecord]:
    """The records of a store as tables show them: of each data set one state, tuned ones marked."""
    states = shown_states(store)
    records = of_states(store.records(), states)
    return with_tuned(records, TuningFile(store.folder).choices(states.values()))


def with_tuned(records: Iterable[RunRecord], choices: Mapping[str, Choice]) -> list[RunRecord]:
    """Return the records, those at a chosen learning rate and batch marked as tuned.

    Where the chosen rate is the recipe's, the training stands twice: as the recipe's, perhaps at another
    batch, and as the tuned one.

    Args:
        records: of a store.
        choices: `tuning.group_of` -> rate and batch.
    """
    if not choices:
        return list(records)
    found = []
    for record in records:
        run = record.config
        choice = choices.get(group_of(run))
        is_chosen = choice is not None and choice == choice_of(run)
        if not is_chosen or "learning_rate" not in record.asked.departures:
            found.append(record)
        if is_chosen:
            found.append(replace(record, tuned=True))
    return found
