"""Validation accuracies, and the gain from twice the training length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from sla_bench.config import RunConfig
from sla_bench.errors import UserError
from sla_bench.grids.tasks import form_of
from sla_bench.grids.tuning import tuned_like, validated
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


class Levelling:
    """Finds trainings on which it can be measured how far others have levelled off.

    A training is measured on itself where it holds images out, else on its twin that does (imbalanced
    scenario: `selection: validation`), and an ensemble on its members' method, as in `tune`. The partner is
    equal but for the length, which is twice as long. Partners need no tests.

    Args:
        records: of one scenario, all that may be twins or partners.
    """

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self._near: dict[tuple[Any, ...], list[RunRecord]] = {}
        for record in records:
            self._near.setdefault(_rough_key(record.config), []).append(record)

    def gain(self, record: RunRecord) -> float | None:
        """Return the relative gain of the mean validation accuracy at twice the length, in %.

        The means are over all seeds that both trainings have, which need not be the record's (the trials'
        999 counts, too), and are of the weights that the record's `selection` keeps: the last, or the best.

        Args:
            record: of any seed of the training.

        Returns:
            The gain; None where no seed has both lengths, or the accuracy is 0.
        """
        takes_best = getattr(record.config, "selection", "last") != "last"
        found = [
            [validation_accuracy(one.history, takes_best) for one in pair] for pair in self.pairs(record)
        ]
        accuracies = np.array(found).reshape(-1, 2)
        accuracies = accuracies[~np.isnan(accuracies).any(axis=1)]
        once, twice = accuracies.sum(axis=0)
        return float(100 * (twice / once - 1)) if once else None

    def pairs(self, record: RunRecord) -> list[tuple[RunRecord, RunRecord]]:
        """The training that a record is measured on, and its partner, at each seed that both have."""
        try:
            once = validated(tuned_like(record.config))
        except UserError:
            return []
        length = form_of(once.scenario).length
        twice = once.model_copy(update={length: 2 * getattr(once, length)})
        partners = self._seeds_of(twice, record)
        own = self._seeds_of(once, record) if partners else {}
        return [(own[seeds], partners[seeds]) for seeds in sorted(own.keys() & partners.keys())]

    def _seeds_of(self, run: RunConfig, record: RunRecord) -> dict[tuple[int, ...], RunRecord]:
        """Seeds -> trainings like `run`, on the data and of the protocol of a record."""
        seed_fields = form_of(run.scenario).seed_fields
        # Most records have no partner: the rough key spares the exact comparison.
        return {
            tuple(getattr(one.config, name) for name in seed_fields): one
            for one in self._near.get(_rough_key(run), ())
            if _without_seeds(one.config) == _without_seeds(run) and _is_comparable(one, record)
        }


def partners_of(records: Iterable[RunRecord]) -> set[str]:
    """Ids of the trainings on which tested ones are measured, partners included.

    Args:
        records: of one scenario.
    """
    records = list(records)
    levelling = Levelling(records)
    tested = (record for record in records if record.evaluations)
    return {one.run_id for record in tested for pair in levelling.pairs(record) for one in pair}


def _rough_key(run: RunConfig) -> tuple[Any, ...]:
    return run.dataset, run.method, run.backbone, run.budget, getattr(run, form_of(run.scenario).length)


def _without_seeds(run: RunConfig) -> dict[str, Any]:
    return run.model_copy(update=dict.fromkeys(form_of(run.scenario).seed_fields, 0)).identity()


def _is_comparable(one: RunRecord, other: RunRecord) -> bool:
    """Of one protocol and one state of the data; older records do not tell their state."""
    states = {one.done.get("data_state"), other.done.get("data_state")} - {None}
    return one.done["protocol"] == other.done["protocol"] and len(states) <= 1
