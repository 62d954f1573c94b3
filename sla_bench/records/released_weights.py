"""Weights of a run in one file, with config and table rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sla_bench.errors import UserError
from sla_bench.models.weights import noted, notes_of, read_weights, weights_bytes
from sla_bench.records.files import write_bytes, write_output
from sla_bench.records.in_progress import claim
from sla_bench.records.record_files import WEIGHTS, kept_weights
from sla_bench.records.store import RunRecord, Store
from sla_bench.registry import SCENARIOS

SUFFIX = ".safetensors"
_RUN, _CONFIG, _ROWS = "run_id", "config", "table_rows"


def export_weights(record: RunRecord, rows: Sequence[Mapping[str, Any]], file: Path) -> int:
    """Write the weights of a run, with notes, to a file; the same bytes each time.

    Args:
        record: the run; its weights were kept.
        rows: of the leaderboard to which the run contributed: column -> plain value.
        file: as in `write_output`.

    Returns:
        The bytes of the file.

    Raises:
        UserError: the weights are missing or damaged, or the file cannot be written.
    """
    config = record.config.model_dump(mode="json")
    notes = {_RUN: record.run_id, _CONFIG: json.dumps(config), _ROWS: json.dumps(list(rows))}
    content = noted(weights_bytes(read_weights(kept_weights(record.folder))), notes)
    write_output(file, lambda opened: opened.write(content))
    return len(content)


def import_weights(file: Path, root: Path) -> RunRecord:
    """Put the weights of `export_weights` into the record of their run; weights that are there stay.

    Args:
        file: as written.
        root: the results folder, with the record.

    Returns:
        The record.

    Raises:
        UserError: the file is damaged or holds no run, its run is not recorded, or it has another config.
        RunClaimedError: another process works on the run.
    """
    state, notes = read_weights(file), notes_of(file)
    run_id = notes.get(_RUN, "")
    if not re.fullmatch("[0-9a-f]{12}", run_id):
        raise UserError(f"{file} does not name its run; take a file that export --weights wrote")
    stores = (Store(root, name) for name in SCENARIOS)
    record = next((r for store in stores for r in store.records() if r.run_id == run_id), None)
    if record is None:
        raise UserError(f"run {run_id} is not recorded in {root}; import its records first, then {file}")
    try:
        same = json.loads(notes.get(_CONFIG, "")) == record.config.model_dump(mode="json")
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise UserError(f"{file} has another config than run {run_id} in {root}; it is not imported")
    with claim(record.folder / ".lock"):
        if not (record.folder / WEIGHTS).exists():
            write_bytes(record.folder / WEIGHTS, weights_bytes(state))
    return record
