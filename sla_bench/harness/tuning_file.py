"""Which learning rates and batches were tried and chosen: results/<scenario>/tuning.csv.

Columns: group (of `tuning.group_of`), training (in words), share (of the images of a training), factor (of
the recipe's rate), learning_rate, batch_images (through the network in a step), validation_accuracy (0 to 1;
empty: it diverged), run_id (of the trial), chosen, data_state (of all data that the trial's scenario sees).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sla_bench.errors import UserError
from sla_bench.harness.files import write_text
from sla_bench.harness.locks import wait_for
from sla_bench.tuning import Choice

COLUMNS = (
    "group",
    "training",
    "share",
    "factor",
    "learning_rate",
    "batch_images",
    "validation_accuracy",
    "run_id",
    "chosen",
    "data_state",
)


class TuningFile:
    """The trials of one scenario.

    Args:
        folder: `results/<scenario>`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tuning.csv"

    def read(self) -> pd.DataFrame:
        """All trials, one row each; empty where there is no file.

        Raises:
            UserError: the file has other columns.
        """
        if not self.path.exists():
            return pd.DataFrame(columns=list(COLUMNS))
        texts = {"group": str, "run_id": str, "factor": str, "share": str, "data_state": str}
        # To the last bit: a rate is part of a run's id, and accuracies may be equal.
        exact = {"learning_rate": float, "validation_accuracy": lambda text: float(text or "nan")}
        trials = pd.read_csv(self.path, dtype=texts, converters=exact)
        if tuple(trials.columns) != COLUMNS:
            raise UserError(f"{self.path}: of a version that tuned no batches; move it away and tune again")
        return trials

    def choices(self, states: Collection[str]) -> dict[str, Choice]:
        """Group -> the learning rate and the batch that were chosen.

        Args:
            states: of the data; choices on others are left out.
        """
        trials = self.read()
        chosen = trials[trials["chosen"].astype(bool) & trials["data_state"].isin(states)]
        found = zip(chosen["learning_rate"].astype(float), chosen["batch_images"].astype(int), strict=True)
        return dict(zip(chosen["group"], (Choice(*pair) for pair in found), strict=True))

    def accuracies(self) -> dict[tuple[str, str], float | None]:
        """(group, run id of a trial) -> its validation accuracy, 0 to 1; None: it diverged."""
        trials = self.read()
        keys = zip(trials["group"], trials["run_id"], strict=True)
        found = (None if pd.isna(value) else float(value) for value in trials["validation_accuracy"])
        return dict(zip(keys, found, strict=True))

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the trials of groups of which nothing is known yet; those of others are passed over.

        Raises:
            UserError: no permission, or the disk is full.
        """
        trials = self.read()
        known = set(zip(trials["group"], trials["data_state"], strict=True))
        if new := [row for row in rows if (row["group"], row["data_state"]) not in known]:
            self.put(new)

    def put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the trials of some groups in the place of what was known of these groups on the same data.

        Raises:
            UserError: no permission, or the disk is full.
        """
        added = pd.DataFrame(rows, columns=list(COLUMNS))
        replaced = set(zip(added["group"], added["data_state"], strict=True))
        with wait_for(self.path.with_name(".tuning.lock")):
            known = self.read()
            keys = zip(known["group"], known["data_state"], strict=True)
            kept = known[[key not in replaced for key in keys]]
            table = pd.concat([kept, added], ignore_index=True) if len(kept) else added
            write_text(self.path, table.to_csv(index=False))
