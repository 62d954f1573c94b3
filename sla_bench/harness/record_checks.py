"""Whether the files of an archived record are what their names say."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from pydantic import ValidationError

from sla_bench.config import PROTOCOL_VERSION, EvalConfig, Settings, as_user_error
from sla_bench.errors import UserError
from sla_bench.grid import form_of
from sla_bench.harness.archive import RecordArchive, RunFiles
from sla_bench.harness.compact import checked_samples

_HISTORY_COLUMNS = {"member", "step"}
_MOST_COLUMNS = 100
_SUMMARY_KEYS = ("train_images", "train_seconds", "parameters")


def check_run(archive: RecordArchive, run: RunFiles) -> None:
    """Check each file of a run and of its evaluations, and the ids that they stand under.

    The id of a run is known where its data's hash is recorded; that of an evaluation always.

    Raises:
        UserError: a file is damaged, or not what its name says; another protocol; a wrong id.
    """
    form = form_of(run.scenario)
    with _content_of(archive, run.files["config.json"]) as content:
        config = form.run.model_validate_json(content)
    with _content_of(archive, run.files["done.json"]) as content:
        done = _mapping(content)
        for key in _SUMMARY_KEYS:
            if not _is_number(done.get(key)):
                raise UserError(f"{key} is no number")
        _check_protocol(done)
        if "data_hash" in done:
            _check_id(config, done["data_hash"], run.run_id)
    with _content_of(archive, run.files["environment.json"]) as content:
        _mapping(content)
    with _content_of(archive, run.files["history.csv"]) as content:
        _check_history(content)
    for eval_id, files in run.evaluations.items():
        _check_evaluation(archive, files, eval_id, form.evaluation)


def _check_evaluation(
    archive: RecordArchive, files: dict[str, zipfile.ZipInfo], eval_id: str, kind: type[EvalConfig]
) -> None:
    with _content_of(archive, files["config.json"]) as content:
        config = kind.model_validate_json(content)
    with _content_of(archive, files["metrics.json"]) as content:
        metrics = _mapping(content)
        _check_protocol(metrics)
        _check_id(config, metrics.get("data_hash"), eval_id)
        rows = metrics.get("rows")
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise UserError("rows are no mapping of rows to metrics")
    with _content_of(archive, files["samples.npz"]) as content:
        arrays = {name.partition("/")[2] for name in checked_samples(content)}
        if absent := sorted(set(rows) - arrays):
            raise UserError(f"no samples of {absent[0]!r}")


@contextmanager
def _content_of(archive: RecordArchive, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Give the content of a member; what is wrong with it is said with its name."""
    content = archive.read(info)
    try:
        yield content
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


def _check_protocol(content: dict[str, Any]) -> None:
    if content.get("protocol") != PROTOCOL_VERSION:
        raise UserError(
            f"made under protocol {content.get('protocol')!r}, this version follows {PROTOCOL_VERSION}"
        )


def _check_id(config: Settings, data_hash: object, named: str) -> None:
    if not isinstance(data_hash, str):
        raise UserError("data_hash is no text")
    if (own := config.digest(data=data_hash)) != named:
        raise UserError(f"its folder is named {named}, but its config and data give {own}")


def _check_history(content: bytes) -> None:
    # pandas spends a kilobyte on a column.
    if content.partition(b"\n")[0].count(b",") >= _MOST_COLUMNS:
        raise UserError(f"more than {_MOST_COLUMNS} columns")
    table = pd.read_csv(io.BytesIO(content))
    if not set(table.columns) >= _HISTORY_COLUMNS:
        raise UserError(f"no columns {', '.join(sorted(_HISTORY_COLUMNS))}")
    for name, column in table.items():
        if column.dtype.kind not in "iuf":
            raise UserError(f"{name!s:.40}: not all are numbers")
