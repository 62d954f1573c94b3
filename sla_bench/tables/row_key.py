"""The columns that identify a row, and its other facts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sla_bench.config import RUNS, RunConfig, columns
from sla_bench.fields import OfMethod, Part, fields_with
from sla_bench.grids.asked import Asked
from sla_bench.records.data_states import protocol_of
from sla_bench.records.store import EvaluationRecord, RunRecord
from sla_bench.scenarios.reading import Reading

BASELINE = "baseline"
SAME_BUT_LONGER = {BASELINE: "baseline-xM", "baseline+TTA": "baseline-xM+TTA"}
"""A row -> the row of the same training with M times the steps, read in the same way."""

_LIKE = ("backbone", "budget", *columns(), "transform")
TRAINING = ("scenario", "dataset", *_LIKE, "protocol")
"""Columns that are equal in rows of one table for people, and of one confirmatory family."""
SETTING = (
    "scenario",
    "dataset",
    "data_state",
    *_LIKE,
    "setting",
    "learner",
    "train_shots",
    "protocol",
)
"""Columns that are equal in rows that are compared; tables are sorted by them."""
ROW_KEY = (*SETTING, "method", "metric")
"""Columns that identify a row, but for its reference."""

PARTS = tuple(dict.fromkeys(n for r, e in RUNS.values() for m in (r, e) for n in fields_with(m, Part)))
FACTS = (
    "budget_name",
    "budget_but_length",
    "setting_but_axis",
    *PARTS,
    "is_sla",
    "averages_views",
    "more_images",
)
"""Columns of a table in memory that files leave out, since others tell the same in words."""


def setting_key(
    record: RunRecord, evaluation: EvaluationRecord, without: Collection[str] = ()
) -> dict[str, Any]:
    """The columns SETTING of an evaluation, as if some departures were not there."""
    run, asked = record.config, evaluation.asked
    found = {
        "scenario": run.scenario,
        "dataset": run.dataset,
        "data_state": evaluation.state,
        "setting": asked.words(),
        "budget": budget_words(record, asked, without),
        "protocol": protocol_of(record, evaluation),
        **columns(),
        **asked.columns,
    }
    return {name: found[name] for name in SETTING}


def key_without_options(record: RunRecord, evaluation: EvaluationRecord) -> dict[str, Any] | None:
    """`setting_key` as if the method had no options; None where it has none.

    There stand the references of a method whose options make it a setting of its own.
    """
    of_method = fields_with(type(record.config), OfMethod)
    has_options = evaluation.asked.departures.keys() & set(of_method)
    return setting_key(record, evaluation, of_method) if has_options else None


def budget_words(record: RunRecord, asked: Asked, without: Collection[str] = ()) -> str:
    """The budget of a training in words, some departures left out; of a tuned one without its rate."""
    if not record.tuned:
        return asked.label(without)
    return f"{asked.label((*without, 'learning_rate'))}, tuned"


def facts_of(record: RunRecord, evaluation: EvaluationRecord, row: str, reading: Reading) -> dict[str, Any]:
    """The columns FACTS of a row."""
    asked = evaluation.asked
    return {
        "budget_name": asked.budget,
        "budget_but_length": budget_words(record, asked, (reading.length,)),
        "setting_but_axis": asked.words((reading.axis.part,) if reading.axis else ()),
        **{name: asked.setting.get(name, (None, ""))[0] for name in PARTS},
        "is_sla": asked.is_sla,
        "averages_views": row in asked.averages_views,
        "more_images": asked.more_images,
    }


def at_batch(name: str, images: int | None) -> str:
    """The name of a row, or of a method, at a batch of so many images; the recipe's (None) is not told."""
    return name if images is None else f"{name} (batch {images})"


def method_of(run: RunConfig) -> str:
    """The method; as in "baseline ens-8" where models of it are averaged, "sla (batch 64)" at a batch."""
    return at_batch(of_members(run.method, run), run.batch_images)


def of_members(name: str, run: RunConfig) -> str:
    """The name of a row, or of a method, of so many models."""
    return name if run.members == 1 else f"{name} ens-{run.members}"
