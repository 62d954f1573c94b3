"""Checks of unpacked records, by the store's own readers."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from sla_bench.config import RunConfig, Settings
from sla_bench.errors import UserError, as_user_error
from sla_bench.grids.asked import asked_of
from sla_bench.grids.tasks import REGISTRIES, form_of
from sla_bench.records.archive import TUNING, refused
from sla_bench.records.record_files import check_history, read_evaluation, read_mapping, read_training
from sla_bench.records.store import EvaluationRecord, evaluation_record
from sla_bench.records.tuning_file import TrialRow, parse_trials
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.reading import Reading

_LARGEST_TUNING = 4 << 20
_OLDEST_PROTOCOL = 2


def check_records(folder: Path, archive: Path) -> dict[str, list[TrialRow]]:
    """Read all records that were unpacked, and check the ids that they stand under.

    The id of a run is known where its data's hash is recorded; that of an evaluation always.

    Args:
        folder: of `<scenario>/runs/`.
        archive: the file that the records came from.

    Returns:
        Scenario -> its trials.

    Raises:
        UserError: a file is damaged, or not what its name says; another protocol; a wrong id; a learner,
            loss, ... that is not known here; values that no table could be made of.
    """
    for run in sorted(folder.glob("*/runs/*")):
        with _refusing(archive, run.relative_to(folder)):
            config = _checked_training(run)
        for evaluation in sorted(run.glob("evaluations/*")):
            with _refusing(archive, evaluation.relative_to(folder)):
                _check_evaluation(config, evaluation)
    trials = {}
    for file in sorted(folder.glob(f"*/{TUNING}")):
        with _refusing(archive, file.relative_to(folder)):
            if file.stat().st_size > _LARGEST_TUNING:
                raise UserError(f"larger than {_LARGEST_TUNING:,} bytes")
            trials[file.parent.name] = parse_trials(file.read_bytes())
    return trials


def _checked_training(run: Path) -> RunConfig:
    content = read_training(run)
    check_history(run)
    read_mapping(run / "environment.json")
    config = form_of(run.parent.parent.name).run.model_validate(content["config"])
    _check_pieces(config)
    _check_id(config, content["done"], run.name, threads=content["config"].get("threads", 1))
    # Knows the budgets.
    asked_of(config)
    return config


def _check_evaluation(run: RunConfig, folder: Path) -> None:
    content = read_evaluation(folder)
    evaluation = evaluation_record(run, folder, content)
    _check_pieces(evaluation.config)
    _check_id(evaluation.config, content["metrics"], folder.name)
    _check_asked(evaluation)
    _check_figures(evaluation)


def _check_asked(evaluation: EvaluationRecord) -> None:
    """Refuse another setting or other columns than those of the configs; recipes may differ."""
    told, known = (
        {**asked.columns, **{name: value for name, (value, _) in asked.setting.items()}}
        for asked in (evaluation.asked, asked_of(evaluation.run, evaluation.config))
    )
    for name, value in told.items():
        if known.get(name, value) != value:
            raise UserError(f"asked: {name} is {value!r}, but {known[name]!r} in its config")


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
            for row in evaluation.rows:
                _check_row(reading, evaluation, row)
    except (TypeError, AttributeError, IndexError, ArithmeticError) as error:
        raise UserError(f"its values can't be worked out ({type(error).__name__}: {error})") from None


def _check_row(reading: Reading, evaluation: EvaluationRecord, row: str) -> None:
    metrics = evaluation.metrics[row]
    values = reading.values(evaluation, row)
    shown = {name: value.value for name, value in values.items()}
    about = {name: number for name, number in reading.about(metrics).items() if number is not None}
    for name, number in {**about, **shown, "accuracy as recorded": metrics["accuracy"]}.items():
        if not _is_number(number):
            raise UserError(f"{row}: {name} is not a number")
    if any(value.samples is not None and value.samples.ndim != 1 for value in values.values()):
        raise UserError(f"{row}: more than one value of a sample")


@contextmanager
def _refusing(archive: Path, part: Path) -> Iterator[None]:
    """Say what is wrong with a part of an archive with its name."""
    try:
        yield
    except ValidationError as error:
        raise refused(archive, part.as_posix(), str(as_user_error(error))) from None
    except KeyError as error:
        raise refused(archive, part.as_posix(), f"no {error}") from None
    except (UserError, ValueError, RecursionError, csv.Error) as error:
        raise refused(archive, part.as_posix(), str(error)) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_id(config: Settings, facts: Mapping[str, Any], named: str, **told: Any) -> None:
    """Check the protocol of a record, and the id that it stands under where the hash of its data is known.

    Args:
        config: of the training or the evaluation.
        facts: of the record.
        named: the id.
        **told: in the id, and no longer in the config.

    Raises:
        UserError: another protocol, or another id.
    """
    protocol = facts["protocol"]
    if not _OLDEST_PROTOCOL <= protocol <= config.protocol:
        raise UserError(f"made under protocol {protocol}, this version follows {config.protocol}")
    data = facts.get("data_hash")
    if data is not None and (own := config.digest(data=data, protocol=protocol, **told)) != named:
        raise UserError(f"its folder is named {named}, but its config and data give {own}")
