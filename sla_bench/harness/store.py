"""The records: one folder per training, evaluations below it. Needs numpy and pandas, never torch.

    results/<scenario>/runs/<run_id>/  config.json history.csv model.safetensors environment.json done.json
    .../evaluations/<eval_id>/         config.json samples.npz metrics.json
    .../analyses/<eval_id>/            the same of what `analyse` added to that evaluation, see analyses.py

`done.json` and `metrics.json` are written last: where they are missing, the record is not there.
"""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sla_bench.config import EvalConfig, RunConfig
from sla_bench.forms.base import Form
from sla_bench.grid import form_of
from sla_bench.harness.archive import ZIP_ERRORS
from sla_bench.harness.cycles import no_search_for_cycles
from sla_bench.harness.files import json_bytes, write_together
from sla_bench.harness.record_cache import RecordCache
from sla_bench.harness.weights_file import WEIGHTS

HISTORY_COLUMNS = frozenset({"member", "step"})
"""What every history has beside its figures."""


@dataclass(frozen=True)
class EvaluationRecord:
    """One evaluation on disk."""

    folder: Path
    config: EvalConfig
    metrics: dict[str, dict[str, Any]]
    data_hash: str
    protocol: int

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """The arrays of samples.npz."""
        with np.load(self.folder / "samples.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


@dataclass(frozen=True)
class RunRecord:
    """One training on disk with its evaluations.

    `signature` changes when one of its files does. `tuned`: it is read as one of the trainings whose learning
    rate was chosen on validation data; the same training can also stand as that of the recipe.
    """

    run_id: str
    folder: Path
    config: RunConfig
    done: dict[str, Any]
    evaluations: tuple[EvaluationRecord, ...]
    signature: str = ""
    tuned: bool = False

    @property
    def history(self) -> pd.DataFrame:
        """One row per validation."""
        return pd.read_csv(self.folder / "history.csv")

    @cached_property
    def updates(self) -> tuple[int, ...]:
        """Updates of the optimiser, of each member."""
        last: dict[str, int] = {}
        # A data frame of a few rows costs more than the rest of a table's row.
        with (self.folder / "history.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                last[row["member"]] = int(row["step"])
        return tuple(last.values())


class Store:
    """The records of one scenario below a results folder.

    Args:
        root: `results/`.
        scenario: its name.
    """

    def __init__(self, root: Path, scenario: str) -> None:
        self.folder = root / scenario
        self.scenario = scenario

    @property
    def cache_file(self) -> Path:
        """What was read from the records; can be deleted at any time."""
        return self.folder / "cache.sqlite"

    def run_folder(self, run_id: str) -> Path:
        """Where a training lies or will lie."""
        return self.folder / "runs" / run_id

    def lock_file(self, run_id: str) -> Path:
        """Held by the process that works on a run."""
        return self.run_folder(run_id) / ".lock"

    def checkpoint_folder(self, run_id: str) -> Path:
        """What an unfinished training goes on from."""
        return self.run_folder(run_id) / "checkpoints"

    def evaluation_folder(self, run_id: str, eval_id: str) -> Path:
        """Where an evaluation lies or will lie."""
        return self.run_folder(run_id) / "evaluations" / eval_id

    def has_run(self, run_id: str) -> bool:
        """The training is finished."""
        return (self.run_folder(run_id) / "done.json").exists()

    def has_evaluation(self, run_id: str, eval_id: str) -> bool:
        """The evaluation is finished."""
        return (self.evaluation_folder(run_id, eval_id) / "metrics.json").exists()

    def write_run(
        self,
        run_id: str,
        config: RunConfig,
        model: bytes | None,
        history: list[dict[str, float]],
        environment: dict[str, Any],
        summary: dict[str, Any],
    ) -> None:
        """Write a finished training; done.json comes last.

        Args:
            run_id: its name.
            config: what was trained.
            model: the weights in safetensors format; None keeps none.
            history: one row per checkpoint.
            environment: what it was trained with.
            summary: goes to done.json.

        Raises:
            UserError: no permission, or the disk is full.
        """
        weights = {} if model is None else {WEIGHTS: model}
        files = {
            "config.json": json_bytes(config.model_dump(mode="json")),
            "history.csv": pd.DataFrame(history).to_csv(index=False).encode(),
            **weights,
            "environment.json": json_bytes(environment),
            "done.json": json_bytes({**summary, "protocol": config.protocol}),
        }
        write_together(self.run_folder(run_id), files)

    def write_evaluation(
        self,
        run_id: str,
        eval_id: str,
        config: EvalConfig,
        metrics: dict[str, dict[str, Any]],
        samples: dict[str, np.ndarray],
        data_hash: str,
    ) -> None:
        """Write a finished evaluation; metrics.json comes last.

        Raises:
            UserError: no permission, or the disk is full.
        """
        arrays = io.BytesIO()
        np.savez_compressed(arrays, **samples)  # type: ignore[arg-type]
        about = {"rows": metrics, "data_hash": data_hash, "protocol": config.protocol}
        files = {
            "config.json": json_bytes(config.model_dump(mode="json")),
            "samples.npz": arrays.getvalue(),
            "metrics.json": json_bytes(about),
        }
        write_together(self.evaluation_folder(run_id, eval_id), files)

    def snapshot(self) -> Snapshot:
        """The store as it is now, for a command that reads its records more than once."""
        return Snapshot(self.folder.parent, self.scenario)

    def records(self) -> list[RunRecord]:
        """The finished trainings, in the order of their ids.

        A folder that is unfinished is passed over; `damaged` lists those that should be readable and are not.
        """
        return self._read()[0]

    def damaged(self) -> list[Path]:
        """Folders of finished trainings that can't be read: a file is missing, cut or not a record's."""
        return self._read()[1]

    @no_search_for_cycles()
    def _read(self) -> tuple[list[RunRecord], list[Path]]:
        cache = RecordCache(self.cache_file)
        known = cache.load("record")
        form = form_of(self.scenario)
        records, damaged, changed, seen = [], [], {}, set()
        for folder, signature in self._finished():
            if signature is None:
                damaged.append(folder)
                continue
            kept = known.get(folder.name)
            try:
                if kept is not None and kept[0] == signature:
                    content = json.loads(kept[1].decode())
                else:
                    content = _read_files(folder)
                    changed[folder.name] = signature, json.dumps(content).encode()
                records.append(self._record(folder, content, form, signature))
                seen.add(folder.name)
            except _UNREADABLE:
                damaged.append(folder)
                changed.pop(folder.name, None)
        cache.update("record", changed, gone=known.keys() - seen)
        return records, damaged

    def _finished(self) -> Iterator[tuple[Path, str | None]]:
        """Folders of finished trainings with their signatures; None where the file system fails."""
        runs = self.folder / "runs"
        for name in _names(str(runs)):
            try:
                signature = _signature(f"{runs}/{name}")
            except OSError:
                signature = None
            if signature != _UNFINISHED:
                yield runs / name, signature

    def _record(self, folder: Path, content: dict[str, Any], form: Form, signature: str) -> RunRecord:
        evaluations = tuple(
            EvaluationRecord(
                folder.joinpath("evaluations", eval_id),
                form.evaluation.model_validate(evaluation["config"]),
                evaluation["metrics"]["rows"],
                evaluation["metrics"]["data_hash"],
                evaluation["metrics"]["protocol"],
            )
            for eval_id, evaluation in content["evaluations"].items()
        )
        config = form.run.model_validate(content["config"])
        return RunRecord(folder.name, folder, config, content["done"], evaluations, signature)


class Snapshot(Store):
    """A store whose records are read when they are first asked for, and not again."""

    @cached_property
    def _contents(self) -> tuple[list[RunRecord], list[Path]]:
        return super()._read()

    def _read(self) -> tuple[list[RunRecord], list[Path]]:
        return self._contents


_UNREADABLE = (KeyError, TypeError, AttributeError, RecursionError, csv.Error, *ZIP_ERRORS)
"""What reading a record raises whose files are damaged, or are not what they should be."""


# Asked of each of ten thousand records whenever they are read, for which pathlib is too slow.


def _signature(folder: str) -> str:
    """Changes when a file of the record or of an evaluation does, by its size and time; empty: unfinished.

    Raises:
        OSError: the file system fails, as a network's does for a file that another machine has replaced.
    """
    stamps = _stamps(folder, ("done.json", "config.json", "history.csv"))
    if stamps.startswith(_MISSING):
        return _UNFINISHED
    evaluations = f"{folder}/evaluations"
    further = [
        f"{name} {_stamps(f'{evaluations}/{name}', ('metrics.json', 'config.json', 'samples.npz'))}"
        for name in _names(evaluations)
    ]
    return " ".join([stamps, *further])


_MISSING = "-"
_UNFINISHED = ""


def _stamps(folder: str, names: Iterable[str]) -> str:
    found = []
    for name in names:
        try:
            stat = os.stat(f"{folder}/{name}")  # noqa: PTH116
            # A clock that was set back can give a file the time of the one before it, but not its number.
            found.append(f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}")
        except (FileNotFoundError, NotADirectoryError):
            found.append(_MISSING)
    return " ".join(found)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []


def _evaluation_folders(folder: Path) -> list[Path]:
    return sorted(f.parent for f in folder.glob("evaluations/*/metrics.json"))


def _read_files(folder: Path) -> dict[str, Any]:
    """The JSON files of a record; its other files are looked through.

    Raises:
        Exception: one of _UNREADABLE: a file is missing, cut, or not what it should be.
    """
    _check_history(folder / "history.csv")
    evaluations = {}
    for evaluation in _evaluation_folders(folder):
        with zipfile.ZipFile(evaluation / "samples.npz") as file:
            if (name := file.testzip()) is not None:
                raise ValueError(f"{evaluation}: {name} is damaged")
        evaluations[evaluation.name] = {
            "config": json.loads((evaluation / "config.json").read_bytes()),
            "metrics": json.loads((evaluation / "metrics.json").read_bytes()),
        }
    return {
        "config": json.loads((folder / "config.json").read_bytes()),
        "done": json.loads((folder / "done.json").read_bytes()),
        "evaluations": evaluations,
    }


def _check_history(path: Path) -> None:
    # A data frame of a few rows costs more than all the rest of the record.
    with path.open(newline="", encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    if not HISTORY_COLUMNS.issubset(heading) or not rows:
        raise ValueError(f"{path}: cut within its heading, or after it")
    if any(len(row) > len(heading) for row in rows):
        raise ValueError(f"{path}: a row of more cells than columns")
