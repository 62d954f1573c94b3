"""Whether the files of an archived record are what their names say."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from sla_bench.config import OLDEST_PROTOCOL, EvalConfig, Settings, as_user_error
from sla_bench.errors import UserError
from sla_bench.grid import REGISTRIES, form_of, recipe_of
from sla_bench.harness.archive import RecordArchive, RunFiles
from sla_bench.harness.compact import checked_samples
from sla_bench.harness.record_files import HISTORY_COLUMNS
from sla_bench.harness.store import EvaluationRecord, RunRecord
from sla_bench.harness.tuning_file import COLUMNS
from sla_bench.registry import SCENARIOS
from sla_bench.tuning import RATES, SHARES, WHOLE

if TYPE_CHECKING:
    from sla_bench.reporting.reading import Reading

_MOST_COLUMNS = 100
_LARGEST_TUNING = 4 << 20
_ID = re.compile("[0-9a-f]{12}")
_STATE = re.compile("[0-9a-f]{16}")
_BATCH = re.compile("[1-9][0-9]{0,8}")
# A spreadsheet must not take it for a formula.
_TRAINING = re.compile(r"[^=+\-@].{0,999}")
_SUMMARY_KEYS = ("train_images", "train_seconds", "parameters")


def check_run(archive: RecordArchive, run: RunFiles) -> None:
    """Check each file of a run and of its evaluations, and the ids that they stand under.

    The id of a run is known where its data's hash is recorded; that of an evaluation always.

    Raises:
        UserError: a file is damaged, or not what its name says; another protocol; a wrong id; a learner,
            loss, ... that is not known here; figures that no table could be made of.
    """
    form = form_of(run.scenario)
    with _content_of(archive, run.files["config.json"]) as content:
        config = form.run.model_validate_json(content)
        _check_pieces(config)
        # Knows the budgets.
        recipe_of(config)
    with _content_of(archive, run.files["done.json"]) as content:
        done = _mapping(content)
        for key in _SUMMARY_KEYS:
            if not _is_number(done.get(key)):
                raise UserError(f"{key} is no number")
        protocol = _checked_protocol(done, config)
        if "data_hash" in done:
            _check_id(config, done["data_hash"], run.run_id, protocol)
        _check_state(done.get("data_state", ""))
    with _content_of(archive, run.files["environment.json"]) as content:
        _mapping(content)
    with _content_of(archive, run.files["history.csv"]) as content:
        _check_history(content)
    record = RunRecord(run.run_id, Path(run.run_id), config, done, ())
    for eval_id, files in run.evaluations.items():
        _check_evaluation(archive, files, eval_id, form.evaluation, record)


def check_tuning(archive: RecordArchive, info: zipfile.ZipInfo) -> list[dict[str, Any]]:
    """Check what was tuned, and return the trials as `TuningFile.put` takes them.

    Raises:
        UserError: it is damaged, or a cell or a group is not what it should be.
    """
    with _content_of(archive, info) as content:
        # A line costs more than a hundred bytes.
        if len(content) > _LARGEST_TUNING:
            raise UserError(f"larger than {_LARGEST_TUNING:,} bytes")
        try:
            heading, *lines = csv.reader(io.StringIO(content.decode(), newline=""))
        except csv.Error as error:
            raise UserError(str(error)) from None
        if tuple(heading) != COLUMNS:
            raise UserError(f"other columns than {', '.join(COLUMNS)}")
        trials = [_trial(line) for line in lines]
        groups: dict[str, list[dict[str, Any]]] = {}
        for trial in trials:
            groups.setdefault(f"{trial['group']} {trial['data_state']}", []).append(trial)
        for name, own in groups.items():
            _check_group(name, own)
    return trials


def _trial(cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(COLUMNS):
        raise UserError(f"a line of {len(cells)} cells")
    group, training, share, factor, rate, batch, accuracy, run_id, chosen, state = cells
    for name in (group, run_id):
        if not _ID.fullmatch(name):
            raise UserError(f"{name[:80]!r} is no id")
    if not _TRAINING.fullmatch(training) or not training.isprintable():
        raise UserError(f"{training[:80]!r} names no training")
    if share not in (shares := [str(known) for known in (*SHARES.values(), WHOLE)]):
        raise UserError(f"share {share[:80]!r}; trials have {', '.join(shares)}")
    if factor not in map(str, RATES):
        raise UserError(f"factor {factor[:80]!r}; trials have {', '.join(map(str, RATES))}")
    if not _BATCH.fullmatch(batch):
        raise UserError(f"batch_images {batch[:80]!r} is not a number of images")
    value = float(accuracy) if accuracy else None
    if not 0 < float(rate) < math.inf or not (value is None or 0 <= value <= 1):
        raise UserError(f"learning rate {rate[:80]} or validation accuracy {accuracy[:80]} out of range")
    if chosen not in ("True", "False"):
        raise UserError(f"chosen is {chosen[:80]!r}, neither True nor False")
    _check_state(state)
    texts = (group, training, share, factor)
    values = (*texts, float(rate), int(batch), value, run_id, chosen == "True", state)
    return dict(zip(COLUMNS, values, strict=True))


def _check_group(name: str, trials: list[dict[str, Any]]) -> None:
    tried = {(trial["share"], trial["factor"], trial["batch_images"]) for trial in trials}
    if len(tried) < len(trials):
        raise UserError(f"group {name}: a trial that is there twice")
    # None is chosen where the tuning was stopped.
    if [trial["validation_accuracy"] is None for trial in trials if trial["chosen"]] not in ([], [False]):
        raise UserError(f"group {name}: more than one trial is chosen, or one that diverged")


def _check_evaluation(
    archive: RecordArchive,
    files: dict[str, zipfile.ZipInfo],
    eval_id: str,
    kind: type[EvalConfig],
    record: RunRecord,
) -> None:
    with _content_of(archive, files["config.json"]) as content:
        config = kind.model_validate_json(content)
        _check_pieces(config)
    with _content_of(archive, files["metrics.json"]) as content:
        metrics = _mapping(content)
        protocol = _checked_protocol(metrics, config)
        _check_id(config, metrics.get("data_hash"), eval_id, protocol)
        _check_state(metrics.get("data_state", ""))
        if not _is_number(metrics.get("recorded_at", 0)):
            raise UserError("recorded_at is no number")
        rows = metrics.get("rows")
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise UserError("rows are no mapping of rows to metrics")
    with _content_of(archive, files["samples.npz"]) as content:
        samples = checked_samples(content)
    about = Path(eval_id), config, rows, metrics["data_hash"], metrics["protocol"]
    with _named(archive, files["metrics.json"]):
        _check_figures(record, _Unwritten(*about, arrays=samples))


@dataclass(frozen=True)
class _Unwritten(EvaluationRecord):
    """An evaluation whose arrays are not on disk yet."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        return self.arrays


def _check_pieces(config: Settings) -> None:
    for kind, registry in REGISTRIES.items():
        name = getattr(config, kind, None)
        if name is not None:
            registry.check(name)


def _check_figures(record: RunRecord, evaluation: EvaluationRecord) -> None:
    """Let the tables' reading of an evaluation happen now: later it would end in the midst of a table."""
    reading: Reading = SCENARIOS.load(record.config.scenario, "reading")
    try:
        # What comes of a division by zero is refused below.
        with np.errstate(all="ignore"):
            reading.setting_key(record, evaluation)
            for method in reading.rows(evaluation):
                _check_row(reading, evaluation, method)
    except KeyError as error:
        raise UserError(f"no {error}") from None
    except (TypeError, AttributeError, IndexError, ArithmeticError) as error:
        raise UserError(f"its figures can't be worked out ({type(error).__name__}: {error})") from None


def _check_row(reading: Reading, evaluation: EvaluationRecord, method: str) -> None:
    metrics = evaluation.metrics[method]
    figures = reading.figures(evaluation, method)
    shown = {name: figure.value for name, figure in figures.items()}
    about = {name: value for name, value in reading.about(metrics).items() if value is not None}
    for name, value in {**about, **shown, "accuracy as recorded": metrics["accuracy"]}.items():
        if not _is_number(value):
            raise UserError(f"{method}: {name} is no number")
    if any(figure.samples is not None and figure.samples.ndim != 1 for figure in figures.values()):
        raise UserError(f"{method}: more than one figure of a sample")


@contextmanager
def _content_of(archive: RecordArchive, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Give the content of a member; what is wrong with it is said with its name."""
    content = archive.read(info)
    with _named(archive, info):
        yield content


@contextmanager
def _named(archive: RecordArchive, info: zipfile.ZipInfo) -> Iterator[None]:
    """Say what is wrong with a member with its name."""
    try:
        yield
    except ValidationError as error:
        raise archive.refused(info.filename, str(as_user_error(error))) from None
    except (UserError, ValueError, RecursionError) as error:
        raise archive.refused(info.filename, str(error)) from None


def _mapping(content: bytes) -> dict[str, Any]:
    found = json.loads(content)
    if not isinstance(found, dict):
        raise UserError("no mapping")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked_protocol(content: dict[str, Any], config: Settings) -> int:
    """The protocol of a record, from the oldest that can be read to that of this version."""
    protocol = content.get("protocol")
    if type(protocol) is not int or not OLDEST_PROTOCOL <= protocol <= config.protocol:
        raise UserError(f"made under protocol {protocol!r}, this version follows {config.protocol}")
    return protocol


def _check_id(config: Settings, data_hash: object, named: str, protocol: int) -> None:
    if not isinstance(data_hash, str):
        raise UserError("data_hash is no text")
    if (own := config.digest(data=data_hash, protocol=protocol)) != named:
        raise UserError(f"its folder is named {named}, but its config and data give {own}")


def _check_state(state: object) -> None:
    if not isinstance(state, str) or (state and not _STATE.fullmatch(state)):
        raise UserError(f"data_state is {str(state)[:80]!r}, not 16 hex digits")


def _check_history(content: bytes) -> None:
    # pandas spends a kilobyte on a column.
    if content.partition(b"\n")[0].count(b",") >= _MOST_COLUMNS:
        raise UserError(f"more than {_MOST_COLUMNS} columns")
    table = pd.read_csv(io.BytesIO(content))
    if not HISTORY_COLUMNS.issubset(table.columns):
        raise UserError(f"no columns {', '.join(sorted(HISTORY_COLUMNS))}")
    if table.empty:
        raise UserError("no row below the heading")
    for name, column in table.items():
        if column.dtype.kind not in ("iu" if name in HISTORY_COLUMNS else "iuf"):
            raise UserError(f"{name!s:.40}: not all are numbers")
