"""Which records of a store tables, plots and the report are made of."""

from __future__ import annotations

from sla_bench.harness.data_states import of_states, shown_states
from sla_bench.harness.store import RunRecord, Store
from sla_bench.harness.tuning_file import TuningFile
from sla_bench.reporting.tuned_rows import with_tuned


def shown_records(store: Store) -> list[RunRecord]:
    """The records of a store as tables show them: of each data set one state, tuned ones marked."""
    states = shown_states(store)
    records = of_states(store.records(), states)
    return with_tuned(records, TuningFile(store.folder).choices(states.values()))
