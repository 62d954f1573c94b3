"""The leaderboard: a pure function of the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from sla_bench.budgets import budget
from sla_bench.config import EvalConfig, FromBudget, RunConfig
from sla_bench.errors import UserError
from sla_bench.grid import has
from sla_bench.harness.store import EvaluationRecord, RunRecord
from sla_bench.registry import LEARNERS, METHODS
from sla_bench.statistics import holm, mean_interval, paired_relative_gain

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
    "seeds",
    "metric",
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
    "episodes",
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
MATCHED_REFERENCES = {
    "SLA+SI": ("baseline-xM", "baseline-NMway"),
    "SLA+AG": ("baseline-xM+TTA", "ens-M", "baseline-NMway+TTA"),
}
"""Fixed beforehand; they enter where they are recorded. Every method is compared with `baseline`."""


@dataclass
class _Cell:
    """One method in one setting: the accuracy per episode of each seed."""

    key: dict[str, Any]
    accuracies: dict[int, np.ndarray] = field(default_factory=dict)
    records: dict[int, RunRecord] = field(default_factory=dict)
    metrics: dict[int, dict[str, Any]] = field(default_factory=dict)


def leaderboard(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Build the leaderboard in long form, one row per (method, reference), values in %.

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
    family = ["scenario", "dataset", "budget", "reference"]
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
        for evaluation in _most_precise(record.evaluations):
            for method, metrics in evaluation.metrics.items():
                key = _key(record, evaluation, method)
                cell = cells.setdefault(tuple(key.values()), _Cell(key))
                seed = record.config.seed
                count = evaluation.config.episodes
                hits = evaluation.samples[f"hits/{method}"][:count]
                cell.accuracies[seed] = hits.mean(1) / evaluation.config.queries
                cell.records[seed], cell.metrics[seed] = record, metrics
    return cells


def _place(cell: _Cell) -> tuple[Any, ...]:
    """Where a cell stands: settings together, methods as registered, rows as the method has them."""
    record = next(iter(cell.records.values()))
    metrics = next(e.metrics for e in record.evaluations if cell.key["method"] in e.metrics)
    names = ("dataset", "backbone", "budget", "precision", "transform", "setting", "learner", "train_shots")
    return (
        *(cell.key[n] for n in names),
        list(METHODS).index(record.config.method),
        list(metrics).index(cell.key["method"]),
    )


def _most_precise(evaluations: Iterable[EvaluationRecord]) -> list[EvaluationRecord]:
    """Of evaluations that differ only in episodes and test seed, the one with most episodes."""
    best: dict[tuple[Any, ...], EvaluationRecord] = {}
    for evaluation in evaluations:
        config = evaluation.config
        key = (config.ways, config.shots, config.queries, config.transform, config.images_per_class)
        rank = (config.episodes, -config.test_seed)
        if key not in best or rank > (best[key].config.episodes, -best[key].config.test_seed):
            best[key] = evaluation
    return list(best.values())


def _key(record: RunRecord, evaluation: EvaluationRecord, method: str) -> dict[str, Any]:
    run, test = record.config, evaluation.config
    setting = f"{test.ways}-way {test.shots}-shot"
    if test.queries != EvalConfig.model_fields["queries"].default:
        setting += f" {test.queries}-query"
    return {
        "scenario": run.scenario,
        "dataset": run.dataset,
        "setting": setting,
        "learner": run.learner,
        "transform": test.transform,
        "backbone": run.backbone,
        "budget": budget_label(run, test),
        "train_shots": run.train_shots,
        "selection": "validation",
        "precision": run.precision,
        "sampler": "uniform",
        "protocol": evaluation.protocol,
        "method": method,
    }


def budget_label(run: RunConfig, test: EvalConfig) -> str:
    """Name the budget and whatever departs from it: "quick", "quick, steps=200"."""
    recipe = budget(run.budget, run.dataset)
    # Those that follow the test, or have a column of their own.
    elsewhere = {"backbone", "train_ways", "train_shots", "val_shots", "episodes", "jackknife_episodes"}
    values = {
        name: getattr(config, name)
        for config in (run, test)
        for name, info in type(config).model_fields.items()
        if has(info, FromBudget) and name not in elsewhere
    }
    departures = [f"{n}={v}" for n, v in values.items() if v != recipe[n]]
    if run.train_ways != test.ways:
        departures.append(f"train_ways={run.train_ways}")
    if run.val_shots != (
        run.train_shots if LEARNERS[run.learner].trains_at_test_shots else recipe["val_shots"]
    ):
        departures.append(f"val_shots={run.val_shots}")
    for options in (run.learner_options, run.method_options, run.backbone_options):
        departures += [f"{n}={v}" for n, v in sorted(options.items())]
    if run.threads != RunConfig.model_fields["threads"].default:
        departures.append(f"threads={run.threads}")
    return ", ".join([run.budget, *departures])


def _rows(cell: _Cell, cells: dict[tuple[Any, ...], _Cell]) -> list[dict[str, Any]]:
    seeds = sorted(cell.accuracies)
    records = [cell.records[s] for s in seeds]
    interval = mean_interval(np.stack([cell.accuracies[s] for s in seeds]))
    metrics = [cell.metrics[s] for s in seeds]
    method = cell.key["method"]
    published, status = _published(cell.key)
    common = {
        **cell.key,
        "seeds": len(seeds),
        "metric": "accuracy",
        "value": 100 * interval.estimate,
        "ci95_low": 100 * interval.low,
        "ci95_high": 100 * interval.high,
        "ci95_open": 100 * _mean([m["ci95_open"] for m in metrics]),
        "jackknife_se": 100 * _mean([m["jackknife_se"] for m in metrics]),
        "interval_kind": interval.interval_kind,
        "episodes": len(cell.accuracies[seeds[0]]),
        "train_images": records[0].done["train_images"],
        "train_seconds": _mean([r.done["train_seconds"] for r in records]),
        "support_passes": metrics[0]["support_passes"],
        "query_passes": metrics[0]["query_passes"],
        "parameters": records[0].done["parameters"],
        "published": published,
        "published_status": status,
        "run_ids": " ".join(r.run_id for r in records),
    }
    if method == BASELINE:
        return [{**common, "reference": None}]
    references = [BASELINE]
    references += [
        name
        for name in MATCHED_REFERENCES.get(method, ())
        if (other := cells.get(_with_method(cell.key, name))) and set(other.accuracies) & set(seeds)
    ]
    return [
        {**common, "reference": r, **_gain(cell, cells.get(_with_method(cell.key, r)))} for r in references
    ]


def _with_method(key: dict[str, Any], method: str) -> tuple[Any, ...]:
    return tuple({**key, "method": method}.values())


def _gain(cell: _Cell, reference: _Cell | None) -> dict[str, Any]:
    seeds = sorted(set(cell.accuracies) & set(reference.accuracies)) if reference else []
    if reference is None or not seeds:
        return {}
    base = np.stack([reference.accuracies[s] for s in seeds])
    treated = np.stack([cell.accuracies[s] for s in seeds])
    gain = paired_relative_gain(base, treated)
    return {
        "seeds": len(seeds),
        "gain_points": 100 * (treated.mean() - base.mean()),
        "relative_gain_pct": 100 * gain.estimate,
        "gain_ci95_low": 100 * gain.low,
        "gain_ci95_high": 100 * gain.high,
        "error_reduction_pct": 100 * (treated.mean() - base.mean()) / (1 - base.mean())
        if base.mean() < 1
        else None,
        "p_value": gain.p_value,
        "p_sign_flip": gain.p_sign_flip,
        "smallest_p": gain.smallest_p,
        "interval_kind": gain.interval_kind,
    }


def _mean(values: Sequence[float | None]) -> float:
    present = [v for v in values if v is not None]
    return float(np.mean(present)) if present else float("nan")


def _published(key: dict[str, Any]) -> tuple[float | None, str | None]:
    """The published accuracy in % of the same setting, and how well it is known; budgets may differ."""
    table = published_figures()
    names = ["scenario", "dataset", "setting", "learner", "method", "backbone"]
    match = table[(table[names] == [key[n] for n in names]).all(axis=1)]
    if match.empty:
        return None, None
    return float(match["accuracy"].iloc[0]), str(match["status"].iloc[0])


def published_figures() -> pd.DataFrame:
    """Figures of the paper and of its baselines, each with source and status."""
    with (resources.files("sla_bench.reporting") / "published.csv").open() as file:
        return pd.read_csv(file)
