"""Details of a report's row: seeds, command, curves, settings, records."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from sla_bench.config import EvalConfig, RunConfig
from sla_bench.records.store import RunRecord
from sla_bench.tables.cells import Found, settings_of, told_batch
from sla_bench.tables.report.whiskers import typeset
from sla_bench.tables.row_key import SETTING, at_batch
from sla_bench.tables.run_list import commands_of
from sla_bench.tables.table_texts import ONE_SEED, accuracies_of, ends, is_missing, number, verdict_text

TableRow = Mapping[Any, Any]
Facts = list[list[str]]
"""Names and texts."""
Cell = tuple[Any, ...]
"""The columns SETTING of a row, and a method."""


def _cell(row: TableRow, method: str) -> Cell:
    return (*(None if is_missing(row[name]) else row[name] for name in SETTING), method)


class Sources:
    """The trainings and evaluations that the rows of a leaderboard were made from.

    Args:
        records: those that the leaderboard was built from, of one scenario.
        rows: of the leaderboard.
    """

    def __init__(self, records: Iterable[RunRecord], rows: Iterable[TableRow]) -> None:
        self._run_ids = {_cell(row, row["method"]): row["run_ids"].split() for row in accuracies_of(rows)}
        self._tests: dict[tuple[Any, ...], list[Found]] = {}
        for setting in settings_of(records):
            for one in setting.found:
                self._tests.setdefault((*setting.shared.values(), one.record.run_id), []).append(one)

    def of(self, cell: Cell) -> list[Found]:
        """The evaluations of a cell, in the order of the seeds; none of a method that has no row."""
        return [self._with_row(cell, run_id) for run_id in self._run_ids.get(cell, ())]

    def _with_row(self, cell: Cell, run_id: str) -> Found:
        # Heads of stage two are evaluations of their own.
        tests = self._tests[(*cell[:-1], run_id)]
        return next(one for one in tests if _recorded_row(one, cell[-1]) in one.evaluation.metrics)


_INTERVALS = {
    "crossed": "over seeds and test samples",
    ONE_SEED: "nowhere: one seed has none",
    "seeds": "over seeds",
}
QUANTITIES = {
    "val_accuracy": "Validation accuracy in %",
    "train_accuracy": "Accuracy on the training task in %",
}
_MOST_POINTS = 100
# In a script element of a page these could end it, start a comment, or break a line of JavaScript.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


class Pool:
    """Numbers JSON values in the order of their first appearance, equal ones alike."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self.items: list[Any] = []

    def add(self, item: Any) -> int:
        """Return the number of a value."""
        place = self._places.setdefault(json.dumps(item), len(self.items))
        if place == len(self.items):
            self.items.append(item)
        return place


def script_json(content: Any) -> str:
    """Return JSON without a character that means something to HTML."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


class Details:
    """Collects the details of all rows of a page; what several rows share is kept once."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._cells: list[dict[str, Any]] = []
        self._places: dict[Cell, int] = {}
        self._facts, self._environments = Pool(), Pool()
        self._curves: dict[str, dict[str, list[list[float]]]] = {}
        self._environment_of: dict[str, int] = {}

    def add(self, row: TableRow, further: Facts, sources: Sources) -> int:
        """Take a row of the leaderboard and return its number.

        Args:
            row: its accuracy.
            further: its other metrics.
            sources: the records behind it.
        """
        entry = {
            "cell": self._place(_cell(row, row["method"]), sources),
            "figures": self._facts.add(_test_facts(row) + further),
            "gain": _gain_facts(row),
        }
        if isinstance(row["reference"], str) and sources.of(other := _cell(row, row["reference"])):
            entry["reference"] = self._place(other, sources)
        self._rows.append(entry)
        return len(self._rows) - 1

    def content(self) -> dict[str, Any]:
        """Return all details as plain JSON values."""
        return {
            "rows": self._rows,
            "cells": self._cells,
            "facts": self._facts.items,
            "environments": self._environments.items,
            "curves": self._curves,
            "quantities": QUANTITIES,
        }

    def _place(self, cell: Cell, sources: Sources) -> int:
        if cell not in self._places:
            self._places[cell] = len(self._cells)
            self._cells.append(self._content(cell[-1], sources.of(cell)))
        return self._places[cell]

    def _content(self, method: str, sources: list[Found]) -> dict[str, Any]:
        settings = [_settings(one.record.config, one.evaluation.config) for one in sources]
        shared = [n for n in settings[0] if n != "seed" and all(s[n] == settings[0][n] for s in settings)]
        varying = [n for n in settings[0] if n not in shared]
        environments: dict[int, list[str]] = {}
        for one in sources:
            environments.setdefault(self._environment(one.record), []).append(one.record.run_id)
        return {
            "method": method,
            "commands": commands_of((one.record.config, one.evaluation.config) for one in sources),
            "settings": self._facts.add([[name, settings[0][name]] for name in shared]),
            "seeds": {
                "head": [*varying, "run", "accuracy %", "training s"],
                "body": [
                    [*(own[n] for n in varying), *_seed_facts(source, method)]
                    for own, source in zip(settings, sources, strict=True)
                ],
            },
            "runs": [self._run(one.record) for one in sources],
            "environments": [[place, run_ids] for place, run_ids in environments.items()],
        }

    def _run(self, record: RunRecord) -> str:
        """Take a training's curve; return its id."""
        if record.run_id not in self._curves:
            self._curves[record.run_id] = curve_of(record)
        return record.run_id

    def _environment(self, record: RunRecord) -> int:
        """Take a training's environment; return its number."""
        if record.run_id not in self._environment_of:
            self._environment_of[record.run_id] = self._environments.add(_environment(record))
        return self._environment_of[record.run_id]


def _settings(run: RunConfig, evaluation: EvalConfig) -> dict[str, str]:
    """Every field of both as a text, the options of pieces one by one."""
    found: dict[str, str] = {}
    for name, value in {**dict(run), **dict(evaluation)}.items():
        if name.endswith("_options"):
            piece = name.removesuffix("options").replace("_", ".")
            found |= {f"{piece}{option}": _text(v) for option, v in sorted(value.items())}
        else:
            found[name] = _text(value)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def _recorded_row(source: Found, method: str) -> str:
    """The row of a method; a recorded row tells no batch."""
    return method.removesuffix(at_batch("", told_batch(source.record)))


def _seed_facts(source: Found, method: str) -> list[str]:
    record = source.record
    accuracy = 100 * source.evaluation.metrics[_recorded_row(source, method)]["accuracy"]
    return [record.run_id, f"{accuracy:.2f}", f"{record.done['train_seconds']:,.0f}"]


def _environment(record: RunRecord) -> Facts:
    content = dict(record.environment)
    try:
        versions = content.pop("versions", {})
        facts = [[str(n), _text(v)] for n, v in [*content.items(), *versions.items()]]
    except (AttributeError, RecursionError):
        facts = []
    return facts or [["environment", "can't be read"]]


def _test_facts(row: TableRow) -> Facts:
    """What the table has no column for."""
    kind = str(row["interval_kind"])
    return _known(
        ("accuracy, 95 % interval", ends(row["ci95_low"], row["ci95_high"], ".2f")),
        ("the interval goes", _INTERVALS.get(kind, kind)),
        ("open interval (other images, same classes), ±", number(row["ci95_open"], ".2f")),
        ("standard error over classes (jackknife)", number(row["jackknife_se"], ".2f")),
        ("standard error from seeds alone", number(row["se_seeds"], ".2f")),
        ("standard error from the test set alone", number(row["se_test"], ".2f")),
        ("the variance comes from", _shares(seeds=row["se_seeds"], test_set=row["se_test"])),
        ("test samples", number(row["test_samples"], ",.0f")),
        ("passes per support image at test", number(row["support_passes"], ".0f")),
        ("passes per test image", number(row["query_passes"], ".0f")),
        ("seconds of training, mean", number(row["train_seconds"], ",.0f")),
        ("parameters", number(row["parameters"], ",.0f")),
    )


def _gain_facts(row: TableRow) -> Facts:
    return _known(
        ("relative gain %", number(row["relative_gain_pct"], "+.2f")),
        ("its 95 % interval", ends(row["gain_ci95_low"], row["gain_ci95_high"], "+.2f")),
        ("seeds of both", number(row["gain_seeds"], ".0f")),
        ("gain in points", number(row["gain_points"], "+.2f")),
        ("errors reduced by %", number(row["error_reduction_pct"], ".1f")),
        ("on other test classes", ends(row["gain_classes_low"], row["gain_classes_high"], "+.2f")),
        ("standard error from seeds alone", number(row["gain_se_seeds"], ".2f")),
        ("standard error from the test set alone", number(row["gain_se_test"], ".2f")),
        ("standard error over test classes", number(row["gain_classes_se"], ".2f")),
        ("the variance comes from", _shares(seeds=row["gain_se_seeds"], test_set=row["gain_se_test"])),
        (
            "the variance on other test classes comes from",
            _shares(
                seeds=row["gain_se_seeds"],
                classes_and_episodes=_larger(row["gain_se_test"], row["gain_classes_se"]),
            ),
        ),
        ("accuracy of the reference on the common seeds", number(row["reference_value"], ".2f")),
        ("accuracy of the method on the common seeds", number(row["gain_value"], ".2f")),
        ("verdict", verdict_text(row)),
        ("p", number(row["p_value"], ".2g")),
        ("p, Holm", number(row["p_holm"], ".2g")),
        ("p, sign flips over seeds", number(row["p_sign_flip"], ".2g")),
        ("smallest p that these seeds can give", number(row["smallest_p"], ".2g")),
    )


def _larger(test_set: float | None, classes: float | None) -> float | None:
    """The standard error over classes holds that of their episodes (`error_over_classes`)."""
    parts = [one for one in (test_set, classes) if one is not None and not is_missing(one)]
    return max(parts) if len(parts) == 2 else None


def _shares(**errors: float | None) -> str:
    """As in "seeds 70 %, test set 30 %": shares of the variance; empty where a part is missing."""
    squares = {name: error**2 for name, error in errors.items() if error is not None}
    total = sum(squares.values())
    if len(squares) < len(errors) or not total > 0:
        return ""
    return ", ".join(f"{name.replace('_', ' ')} {100 * one / total:.0f} %" for name, one in squares.items())


def _known(*facts: tuple[str, str]) -> Facts:
    return [[name, typeset(text)] for name, text in facts if text]


def curve_of(record: RunRecord) -> dict[str, list[list[float]]]:
    """Return quantity -> points (images through the backbone, accuracy in %).

    Of an ensemble it is the first member's. Points that were not measured are left out, and so is a quantity
    without any; of many points, every n-th and the last are kept.
    """
    rows = record.history_rows
    members = {row["member"] for row in rows}
    rows = [row for row in rows if row["member"] == rows[0]["member"]]
    # A history that was written elsewhere may count its steps from 0.
    images = record.done["train_images"] / len(members) / (int(rows[-1]["step"]) or 1)
    curves = {quantity: _points(rows, quantity, images) for quantity in QUANTITIES}
    return {quantity: points for quantity, points in curves.items() if points}


def _points(rows: list[dict[str, Any]], quantity: str, images_per_step: float) -> list[list[float]]:
    known = [
        [round(float(row["step"]) * images_per_step), round(100 * float(row[quantity]), 2)]
        for row in rows
        if row.get(quantity) and math.isfinite(float(row[quantity]))
    ]
    every = math.ceil(len(known) / _MOST_POINTS) or 1
    return known[:-1:every] + known[-1:]
