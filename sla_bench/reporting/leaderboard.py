"""The leaderboard: a pure function of the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from sla_bench.errors import UserError
from sla_bench.harness.store import EvaluationRecord, RunRecord
from sla_bench.registry import METHODS, SCENARIOS
from sla_bench.reporting.reading import Figure, Reading
from sla_bench.statistics import (
    Gain,
    MeanInterval,
    holm,
    mean_interval,
    mean_over_seeds,
    paired_gain_over_seeds,
    paired_relative_gain,
)

COLUMNS = [
    "scenario",
    "dataset",
    "setting",
    "learner",
    "method",
    "transform",
    "backbone",
    "budget",
    "train_shots",
    "selection",
    "precision",
    "sampler",
    "protocol",
    "metric",
    "seeds",
    "value",
    "ci95_low",
    "ci95_high",
    "ci95_open",
    "jackknife_se",
    "reference",
    "gain_points",
    "relative_gain_pct",
    "gain_ci95_low",
    "gain_ci95_high",
    "error_reduction_pct",
    "p_value",
    "p_holm",
    "p_sign_flip",
    "smallest_p",
    "interval_kind",
    "test_samples",
    "train_images",
    "train_seconds",
    "support_passes",
    "query_passes",
    "parameters",
    "published",
    "published_status",
    "run_ids",
]

BASELINE = "baseline"


@dataclass
class _Cell:
    """One metric of one method in one setting, for each seed."""

    key: dict[str, Any]
    reading: Reading
    figures: dict[int, Figure] = field(default_factory=dict)
    records: dict[int, RunRecord] = field(default_factory=dict)
    metrics: dict[int, dict[str, Any]] = field(default_factory=dict)
    place: tuple[int, int] = (0, 0)

    @property
    def seeds(self) -> set[int]:
        return set(self.figures)


def leaderboard(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Build the leaderboard in long form, one row per (method, metric, reference), values in %.

    Args:
        records: all of a store.

    Raises:
        UserError: records of different protocol versions.
    """
    cells = _cells(list(records))
    rows = [row for cell in sorted(cells.values(), key=_place) for row in _rows(cell, cells)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    if table.empty:
        return table
    family = ["scenario", "dataset", "budget", "metric", "reference"]
    for index in table.groupby(family, dropna=True).groups.values():
        table.loc[index, "p_holm"] = holm(table.loc[index, "p_value"].to_numpy(dtype=float))
    return table


def _cells(records: list[RunRecord]) -> dict[tuple[Any, ...], _Cell]:
    protocols = {e.protocol for r in records for e in r.evaluations}
    if len(protocols) > 1:
        raise UserError(
            f"the records follow different protocols ({', '.join(map(str, sorted(protocols)))}); "
            "they can't stand in one table: use another --out for one of them"
        )
    cells: dict[tuple[Any, ...], _Cell] = {}
    for record in records:
        reading: Reading = SCENARIOS.load(record.config.scenario, "reading")
        for evaluation in _largest(record.evaluations, reading):
            for row, method in enumerate(reading.rows(evaluation)):
                for column, (metric, figure) in enumerate(reading.figures(evaluation, method).items()):
                    key = {**reading.key(record, evaluation, method), "metric": metric}
                    cell = cells.setdefault(tuple(key.values()), _Cell(key, reading))
                    seed = record.config.seed
                    cell.figures[seed], cell.records[seed] = figure, record
                    cell.metrics[seed] = evaluation.metrics[method]
                    cell.place = (row, column)
    return cells


def _place(cell: _Cell) -> tuple[Any, ...]:
    """Where a cell stands: settings together, then methods as registered, rows and metrics as recorded."""
    record = next(iter(cell.records.values()))
    names = (
        "dataset",
        "backbone",
        "budget",
        "precision",
        "selection",
        "sampler",
        "transform",
        "setting",
        "learner",
        "train_shots",
    )
    return (*(cell.key[n] for n in names), list(METHODS).index(record.config.method), *cell.place)


def _largest(evaluations: Iterable[EvaluationRecord], reading: Reading) -> list[EvaluationRecord]:
    """Of evaluations of one setting, the one with most samples."""
    best: dict[tuple[Any, ...], EvaluationRecord] = {}
    for evaluation in evaluations:
        key = reading.same_test(evaluation.config)
        if key not in best or reading.test_size(evaluation) > reading.test_size(best[key]):
            best[key] = evaluation
    return list(best.values())


def _rows(cell: _Cell, cells: dict[tuple[Any, ...], _Cell]) -> list[dict[str, Any]]:
    seeds = sorted(cell.seeds)
    records = [cell.records[s] for s in seeds]
    figures = [cell.figures[s] for s in seeds]
    interval = _interval(figures)
    scale = 100 if figures[0].percent else 1
    method, metric = cell.key["method"], cell.key["metric"]
    published, status = _published(cell.key)
    about = [cell.reading.about(cell.metrics[s]) for s in seeds]
    samples = figures[0].samples
    common = {
        **cell.key,
        "seeds": len(seeds),
        "value": scale * interval.estimate,
        "ci95_low": scale * interval.low,
        "ci95_high": scale * interval.high,
        "interval_kind": interval.interval_kind,
        "test_samples": None if samples is None else len(samples),
        "train_images": records[0].done["train_images"],
        "train_seconds": _mean([r.done["train_seconds"] for r in records]),
        "parameters": records[0].done["parameters"],
        "published": published,
        "published_status": status,
        "run_ids": " ".join(r.run_id for r in records),
        **{name: _mean([a[name] for a in about]) for name in about[0]},
    }
    if method == BASELINE:
        return [{**common, "reference": None}]
    references = [BASELINE]
    if metric == "accuracy":
        references += [
            name
            for name in cell.reading.matched_references.get(method, ())
            if (other := cells.get(_with_method(cell.key, name))) and other.seeds & set(seeds)
        ]
    return [
        {**common, "reference": r, **_gain(cell, cells.get(_with_method(cell.key, r)))} for r in references
    ]


def _interval(figures: Sequence[Figure]) -> MeanInterval:
    if figures[0].samples is None:
        return mean_over_seeds([f.value for f in figures])
    return mean_interval(_stacked(figures), strata=figures[0].strata)


def _with_method(key: dict[str, Any], method: str) -> tuple[Any, ...]:
    return tuple({**key, "method": method}.values())


def _gain(cell: _Cell, reference: _Cell | None) -> dict[str, Any]:
    seeds = sorted(cell.seeds & reference.seeds) if reference else []
    if reference is None or not seeds:
        return {}
    treated, base = [cell.figures[s] for s in seeds], [reference.figures[s] for s in seeds]
    scale = 100 if base[0].percent else 1
    points = float(np.mean([f.value for f in treated]) - np.mean([f.value for f in base]))
    found = {"seeds": len(seeds), "gain_points": scale * points}
    gain = _relative_gain(base, treated)
    if gain is None:
        return found
    return {
        **found,
        "relative_gain_pct": 100 * gain.estimate,
        "gain_ci95_low": 100 * gain.low,
        "gain_ci95_high": 100 * gain.high,
        "error_reduction_pct": gain.error_reduction_pct,
        "p_value": gain.p_value,
        "p_sign_flip": gain.p_sign_flip,
        "smallest_p": gain.smallest_p,
        "interval_kind": gain.interval_kind,
    }


def _relative_gain(base: Sequence[Figure], treated: Sequence[Figure]) -> Gain | None:
    """None where a ratio says nothing: a smaller value is better, or the reference is 0."""
    if not base[0].higher_is_better or not any(f.value for f in base):
        return None
    if base[0].samples is None:
        return paired_gain_over_seeds([f.value for f in base], [f.value for f in treated])
    return paired_relative_gain(_stacked(base), _stacked(treated), strata=base[0].strata)


def _stacked(figures: Sequence[Figure]) -> np.ndarray:
    """Samples of all seeds, (S, T)."""
    return np.stack([f.samples for f in figures if f.samples is not None])


def _mean(values: Sequence[float | None]) -> float:
    present = [v for v in values if v is not None]
    return float(np.mean(present)) if present else float("nan")


def _published(key: dict[str, Any]) -> tuple[float | None, str | None]:
    """The published accuracy in % of the same setting, and how well it is known; budgets may differ."""
    table = published_figures()
    if key["metric"] != "accuracy":
        return None, None
    names = ["scenario", "dataset", "setting", "learner", "method", "backbone"]
    match = table[(table[names] == [key[n] for n in names]).all(axis=1)]
    if match.empty:
        return None, None
    return float(match["accuracy"].iloc[0]), str(match["status"].iloc[0])


def published_figures() -> pd.DataFrame:
    """Figures of the paper and of its baselines, each with source and status."""
    with (resources.files("sla_bench.reporting") / "published.csv").open() as file:
        return pd.read_csv(file)
