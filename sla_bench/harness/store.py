"""The records: one folder per training, evaluations below it. Needs numpy and pandas, never torch.

    results/<scenario>/runs/<run_id>/  config.json history.csv model.safetensors environment.json done.json
    .../evaluations/<eval_id>/         config.json samples.npz metrics.json

`done.json` and `metrics.json` are written last: where they are missing, the record is not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sla_bench.config import PROTOCOL_VERSION, EvalConfig, RunConfig
from sla_bench.grid import form_of
from sla_bench.harness.files import write_atomically, write_json, write_text


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
    """One training on disk with its evaluations."""

    run_id: str
    folder: Path
    config: RunConfig
    done: dict[str, Any]
    evaluations: tuple[EvaluationRecord, ...]

    @property
    def history(self) -> pd.DataFrame:
        """One row per validation."""
        return pd.read_csv(self.folder / "history.csv")


class Store:
    """The records of one scenario below a results folder.

    Args:
        root: `results/`.
        scenario: its name.
    """

    def __init__(self, root: Path, scenario: str) -> None:
        self.folder = root / scenario
        self.scenario = scenario

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
        folder = self.run_folder(run_id)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        write_text(folder / "history.csv", pd.DataFrame(history).to_csv(index=False))
        if model is not None:
            write_atomically(folder / "model.safetensors", lambda file: file.write(model))
        write_json(folder / "environment.json", environment)
        write_json(folder / "done.json", {**summary, "protocol": PROTOCOL_VERSION})

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
        folder = self.evaluation_folder(run_id, eval_id)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        write_atomically(folder / "samples.npz", lambda file: np.savez_compressed(file, **samples))  # type: ignore[arg-type]
        write_json(
            folder / "metrics.json", {"rows": metrics, "data_hash": data_hash, "protocol": PROTOCOL_VERSION}
        )

    def records(self) -> Iterator[RunRecord]:
        """Yield the finished trainings, in the order of their ids.

        A folder that is unfinished is passed over; `damaged` lists those that should be readable and are not.
        """
        for folder in sorted(self.folder.glob("runs/*/done.json")):
            if (record := _read_run(folder.parent, self.scenario)) is not None:
                yield record

    def damaged(self) -> list[Path]:
        """Folders of finished trainings that can't be read."""
        return [
            f.parent
            for f in sorted(self.folder.glob("runs/*/done.json"))
            if _read_run(f.parent, self.scenario) is None
        ]


def _read_run(folder: Path, scenario: str) -> RunRecord | None:
    form = form_of(scenario)
    try:
        config = form.run.model_validate_json((folder / "config.json").read_bytes())
        done = json.loads((folder / "done.json").read_bytes())
        evaluations = tuple(
            _read_evaluation(f.parent, form.evaluation)
            for f in sorted(folder.glob("evaluations/*/metrics.json"))
        )
        return RunRecord(folder.name, folder, config, done, evaluations)
    except (OSError, ValueError, KeyError):
        return None


def _read_evaluation(folder: Path, kind: type[EvalConfig]) -> EvaluationRecord:
    config = kind.model_validate_json((folder / "config.json").read_bytes())
    content = json.loads((folder / "metrics.json").read_bytes())
    return EvaluationRecord(folder, config, content["rows"], content["data_hash"], content["protocol"])
