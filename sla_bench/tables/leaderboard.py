"""The leaderboard: a pure function of the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sla_bench.errors import first_names
from sla_bench.evaluation.statistics import (
    Gain,
    MeanInterval,
    mean_interval,
    mean_over_seeds,
    paired_gain_over_seeds,
    paired_relative_gain,
)
from sla_bench.evaluation.verdicts import holm, seeds_to_decide, verdict
from sla_bench.records.store import RunRecord
from sla_bench.scenarios.reading import Contrast, Reading, Value
from sla_bench.tables.best_group import best_group
from sla_bench.tables.cells import Cell, Cells, Setting, settings_of, shared_classes, stacked
from sla_bench.tables.comparisons import (
    PublishedValues,
    comparison,
    cost_of,
    devices_of,
    is_matched_and_tuned,
)
from sla_bench.tables.levelling import Levelling
from sla_bench.tables.row_key import BASELINE, FACTS, ROW_KEY, SETTING, TRAINING

_FIRST = (
    *("scenario", "dataset", "data_state", "other_states", "setting", "learner", "method"),
    *("transform", "backbone", "budget", "train_shots", "selection", "precision"),
)
COLUMNS = [
    *_FIRST,
    *(name for name in ROW_KEY if name not in _FIRST),
    *("seeds", "value", "ci95_low", "ci95_high", "ci95_open", "jackknife_se", "se_seeds", "se_test"),
    "best_group",
    *("reference", "comparison", "gain_value", "reference_value", "gain_points"),
    *("relative_gain_pct", "gain_ci95_low", "gain_ci95_high"),
    *("gain_classes_low", "gain_classes_high", "gain_classes_se", "gain_se_seeds", "gain_se_test"),
    *("gain_interval_kind", "gain_seeds", "error_reduction_pct"),
    *("contrast", "verdict", "seeds_to_decide", "p_value", "p_holm", "holm_contrasts"),
    *("p_sign_flip", "smallest_p"),
    *("interval_kind", "test_samples", "untested_classes"),
    *("train_images", "drawn_images", "epochs", "updates", "batch", "learning_rate", "gain_at_twice"),
    *("train_seconds", "support_passes", "query_passes", "parameters"),
    *("published", "published_status", "published_differs", "run_ids", "devices"),
]

_SAME_GAIN = [*SETTING, "reference", "gain_value", "relative_gain_pct", "gain_ci95_low"]
_OF_CONTRASTS = ["contrast", "verdict", "seeds_to_decide", "p_value", "p_sign_flip", "smallest_p"]

Rows = list[dict[str, Any]]
WorkOut = Callable[[Setting], Rows]
"""Works the rows of a setting out."""
Recall = Callable[[Sequence[Setting], WorkOut], Iterable[Rows]]
"""Returns the rows of each setting, worked out now or before."""


def leaderboard(
    records: Iterable[RunRecord], recall: Recall = lambda settings, work_out: map(work_out, settings)
) -> pd.DataFrame:
    """Build the leaderboard in long form, one row per (method, metric, reference), values in %.

    Rows are of one state of the data each. The column other_states is left to whoever chose the records.

    Args:
        records: of a store, with those of trainings that were not tested.
        recall: may spare working out rows that are known.
    """
    records, published = list(records), PublishedValues()

    def work_out(setting: Setting) -> Rows:
        cells = Cells(setting)
        words = best_group(cells)
        rows = [row for cell in cells for row in _rows(cell, cells, published)]
        return [row | {"best_group": _word(row, words)} for row in rows]

    rows = [row for found in recall(settings_of(records), work_out) for row in found]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *FACTS])
    return table if table.empty else _with_gain_at_twice(_with_families(table), records)


def _with_gain_at_twice(table: pd.DataFrame, records: Iterable[RunRecord]) -> pd.DataFrame:
    """Say what twice the length gains; it depends on trainings that have no rows."""
    by_id = {record.run_id: record for record in records}
    levelling = Levelling(by_id.values())
    gains = {ids: levelling.gain(by_id[ids.split()[0]]) for ids in table["run_ids"].unique()}
    return table.assign(gain_at_twice=table["run_ids"].map(gains).astype(float))


def _with_families(table: pd.DataFrame) -> pd.DataFrame:
    """Adjust the p-values of each confirmatory family; contrasts that repeat another one leave it."""
    confirmatory = table["contrast"] == "confirmatory"
    repeated = confirmatory & table.where(confirmatory).duplicated(_SAME_GAIN)
    table.loc[repeated, _OF_CONTRASTS] = None
    p = table["p_value"].to_numpy(dtype=float)
    adjusted, contrasts = np.full(len(p), np.nan), np.full(len(p), np.nan)
    tested = table[confirmatory & ~repeated & table["p_value"].notna()]
    for rows in tested.groupby([*TRAINING]).groups.values():
        adjusted[rows], contrasts[rows] = holm(p[rows]), len(rows)
    return table.assign(p_holm=adjusted, holm_contrasts=contrasts)


def _word(row: dict[str, Any], words: dict[str, str]) -> str | None:
    return words.get(row["method"]) if row["metric"] == "accuracy" else None


def _rows(cell: Cell, cells: Cells, published: PublishedValues) -> Rows:
    seeds = cell.seeds
    records = [cell.records[s] for s in seeds]
    values = [cell.values[s] for s in seeds]
    interval = _interval(values)
    scale = 100 if values[0].percent else 1
    method, metric = cell.key["method"], cell.key["metric"]
    about = [cell.reading.about(cell.metrics[s]) for s in seeds]
    samples, cost = values[0].samples, cost_of(records[0])
    common = {
        **cell.key,
        **cell.facts,
        "seeds": len(seeds),
        "value": scale * interval.estimate,
        "ci95_low": scale * interval.low,
        "ci95_high": scale * interval.high,
        "se_seeds": scale * interval.seeds_error,
        "se_test": scale * interval.test_error,
        "interval_kind": interval.interval_kind,
        "test_samples": None if samples is None else len(samples),
        "untested_classes": _untested(cell),
        "train_images": cost.images,
        "drawn_images": cost.drawn,
        "epochs": cost.epochs,
        "updates": cost.updates,
        "batch": cost.batch,
        "learning_rate": records[0].config.learning_rate,
        "train_seconds": _mean([r.done["train_seconds"] for r in records]),
        "parameters": records[0].done["parameters"],
        **published.beside(cell.key, cell.reading.published_training),
        "run_ids": " ".join(r.run_id for r in records),
        "devices": devices_of(records),
        **{name: _mean([a[name] for a in about]) for name in about[0]},
    }
    if method == BASELINE:
        return [{**common, "reference": None}]
    references = {BASELINE: cells.beside(cell, BASELINE)}
    matched = cell.reading.references(cell.row, records[0].config)
    if metric == "accuracy":
        for name in matched:
            other = cells.beside(cell, name)
            if other is None and name in cell.reading.stand_ins:
                other = cells.beside(cell, cell.reading.stand_ins[name])
            if other is not None and cell.seeds_shared_with(other):
                references[name] = other
    rows = []
    for name, other in references.items():
        row = {**common, "method": cell.row, "reference": name}
        contrast = cell.reading.contrast(row, matched=name in matched)
        row |= {"method": method, **_gain(cell, other, contrast)}
        if other:
            row["reference"] = other.key["method"]
            row |= {fact: cell.facts[fact] or other.facts[fact] for fact in ("averages_views", "more_images")}
        rows.append(row)
    return rows


def _untested(cell: Cell) -> str | None:
    """The first names of classes without a test image in any seed."""
    found = (cell.reading.untested(cell.records[s].done, cell.metrics[s]) for s in cell.seeds)
    names = list(dict.fromkeys(name for of_seed in found for name in of_seed))
    return first_names(names) if names else None


def _interval(values: Sequence[Value]) -> MeanInterval:
    if values[0].samples is None:
        return mean_over_seeds([f.value for f in values], share=values[0].percent)
    return mean_interval(stacked(values), strata=values[0].strata)


def _gain(cell: Cell, reference: Cell | None, contrast: Contrast | None) -> dict[str, Any]:
    seeds = cell.seeds_shared_with(reference) if reference else []
    if reference is None or not seeds:
        return {}
    treated, base = [cell.values[s] for s in seeds], [reference.values[s] for s in seeds]
    scale = 100 if base[0].percent else 1
    own, other = _mean([f.value for f in treated]), _mean([f.value for f in base])
    trained, compared = cell.records[seeds[0]], reference.records[seeds[0]]
    found: dict[str, Any] = {
        "comparison": comparison(cost_of(trained), cost_of(compared), trained.tuned),
        "gain_seeds": len(seeds),
        "gain_value": scale * own,
        "reference_value": scale * other,
        "gain_points": scale * (own - other),
    }
    gain = _relative_gain(base, treated)
    if gain is None:
        return found
    found |= {
        "relative_gain_pct": 100 * gain.estimate,
        "gain_ci95_low": 100 * gain.low,
        "gain_ci95_high": 100 * gain.high,
        "gain_classes_low": 100 * gain.classes_low,
        "gain_classes_high": 100 * gain.classes_high,
        "gain_classes_se": 100 * gain.classes_error,
        "gain_se_seeds": 100 * gain.seeds_error,
        "gain_se_test": 100 * gain.test_error,
        "error_reduction_pct": gain.error_reduction_pct,
        "gain_interval_kind": gain.interval_kind,
    }
    if contrast is None:
        return found
    if is_matched_and_tuned(found["comparison"]):
        found |= _verdict(cell.reading, base, treated)
    return found | {
        "contrast": contrast,
        "p_value": gain.p_value,
        "p_sign_flip": gain.p_sign_flip,
        "smallest_p": gain.smallest_p,
    }


def _relative_gain(base: Sequence[Value], treated: Sequence[Value]) -> Gain | None:
    """None where a ratio says nothing: a smaller value is better, or the reference is 0."""
    if not base[0].higher_is_better or not any(f.value for f in base):
        return None
    if base[0].samples is None:
        return paired_gain_over_seeds([f.value for f in base], [f.value for f in treated])
    return paired_relative_gain(
        stacked(base), stacked(treated), strata=base[0].strata, classes=shared_classes([*base, *treated])
    )


def _verdict(reading: Reading, base: Sequence[Value], treated: Sequence[Value]) -> dict[str, Any]:
    """Nothing where it would have to be about new classes, and the records do not name those of episodes."""
    values = [*base, *treated]
    if reading.tests_new_classes and any(f.classes is None for f in values):
        return {}
    arrays, design = (stacked(base), stacked(treated)), (base[0].strata, shared_classes(values))
    return {
        "verdict": verdict(*arrays, strata=design[0], classes=design[1]),
        "seeds_to_decide": seeds_to_decide(*arrays, strata=design[0], classes=design[1]),
    }


def _mean(values: Sequence[float | None]) -> float:
    present = [v for v in values if v is not None]
    return sum(present) / len(present) if present else float("nan")
