"""Checks of the records in an archive, by the store's own readers."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import ValidationError

from sla_bench.config import OLDEST_PROTOCOL, Settings
from sla_bench.errors import UserError, as_user_error
from sla_bench.grids.asked import asked_of
from sla_bench.grids.tasks import REGISTRIES, form_of
from sla_bench.records.archive import ArchivedRun, Member, RefusedError
from sla_bench.records.record_files import (
    check_history,
    read_evaluation,
    read_mapping,
    read_training,
)
from sla_bench.records.store import EvaluationRecord, evaluation_record
from sla_bench.records.tuning_file import TrialRow, parse_trials
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.reading import Reading

_LARGEST_TUNING = 4 << 20


def check_run(run: ArchivedRun) -> None:
    """Read a run and its evaluations, and check the ids that they stand under.

    The id of a run is known where its data's hash is recorded; that of an evaluation always.

    Raises:
        UserError: a file is damaged, or not what its name says; another protocol; a wrong id; a learner,
            loss, ... that is not known here; figures that no table could be made of.
    """
    with _refusing(run.folder):
        content = read_training(run.folder)
        check_history(run.folder)
        read_mapping(run.folder / "environment.json")
        done, config = content["done"], form_of(run.scenario).run.model_validate(content["config"])
        _check_pieces(config)
        _check_id(config, done, run.run_id)
        # Knows the budgets.
        asked_of(config)
    for eval_id, folder in run.evaluations.items():
        with _refusing(folder):
            content = read_evaluation(folder)
            evaluation = evaluation_record(config, _as_path(folder), content)
            _check_pieces(evaluation.config)
            _check_id(evaluation.config, content["metrics"], eval_id)
            _check_asked(evaluation)
            _check_figures(evaluation)


def check_tuning(file: Member) -> list[TrialRow]:
    """Return the trials of an archive.

    Raises:
        UserError: as `parse_trials`, or larger than 4 MB.
    """
    with _refusing(file):
        content = file.read_bytes()
        if len(content) > _LARGEST_TUNING:
            raise UserError(f"larger than {_LARGEST_TUNING:,} bytes")
        return parse_trials(content)


def _check_asked(evaluation: EvaluationRecord) -> None:
    """Refuse another setting or other columns than those of the configs; recipes may differ."""
    told, known = (
        {**asked.columns, **{name: value for name, (value, _) in asked.setting.items()}}
        for asked in (evaluation.asked, asked_of(evaluation.run, evaluation.config))
    )
    for name, value in told.items():
        if known.get(name, value) != value:
            raise UserError(f"asked: {name} is {value!r}, but {known[name]!r} in its config")


def _as_path(folder: Member) -> Path:
    # Of its folder a record asks only what a `Member` has, too.
    return cast("Path", folder)


def _check_pieces(config: Settings) -> None:
    for kind, registry in REGISTRIES.items():
        name = getattr(config, kind, None)
        if name is not None:
            registry.check(name)


def _check_figures(evaluation: EvaluationRecord) -> None:
    """Let the tables' reading of an evaluation happen now: later it would end in the midst of a table."""
    reading: Reading = SCENARIOS.load(evaluation.run.scenario, "reading")
    try:
        # What comes of a division by zero is refused below.
        with np.errstate(all="ignore"):
            for method in evaluation.rows:
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
            raise UserError(f"{method}: {name} is not a number")
    if any(figure.samples is not None and figure.samples.ndim != 1 for figure in figures.values()):
        raise UserError(f"{method}: more than one figure of a sample")


@contextmanager
def _refusing(place: Member) -> Iterator[None]:
    """Say what is wrong with a part of an archive with its name."""
    try:
        yield
    except RefusedError:
        raise
    except ValidationError as error:
        raise place.archive.refused(place.path, str(as_user_error(error))) from None
    except KeyError as error:
        raise place.archive.refused(place.path, f"no {error}") from None
    except (UserError, ValueError, RecursionError, csv.Error) as error:
        raise place.archive.refused(place.path, str(error)) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_id(config: Settings, facts: Mapping[str, Any], named: str) -> None:
    """Check the protocol of a record, and the id that it stands under where the hash of its data is known."""
    protocol = facts["protocol"]
    if not OLDEST_PROTOCOL <= protocol <= config.protocol:
        raise UserError(f"made under protocol {protocol}, this version follows {config.protocol}")
    data = facts.get("data_hash")
    if data is not None and (own := config.digest(data=data, protocol=protocol)) != named:
        raise UserError(f"its folder is named {named}, but its config and data give {own}")
