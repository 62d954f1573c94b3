"""Real trainings in the time that is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.rows import Row
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.records.store import Store

_GRACE_SECONDS = 25.0
"""For a checkpoint at the end."""
_LEAST_SECONDS = 10.0


def train_cells(seconds: float, device: str, out: Path, data_root: Path, small: bool) -> list[Row]:
    """Train baseline and SLA+SD on a long tail of ratio 100, as far as the time goes; a killed one resumes.

    Args:
        seconds: that are left.
        device: where to compute.
        out: the results folder.
        data_root: where the data lie.
        small: of budget smoke, for a test of this script.

    Returns:
        Test accuracy in % of each row that is recorded, with the seconds of its training.
    """
    dataset = "cifar100" if _has_files("cifar100", data_root) else "glyphs20"
    budget = "smoke" if small else "paper"
    command = [sys.executable, "-m", "sla_bench", "run", "imbalanced", "--dataset", dataset]
    command += ["--ratio", "100", "--budget", budget, "--method", "baseline", "sla+sd", "--device", device]
    # Both at once, as a grid on one GPU would run.
    command += ["--gpus-per-run", "0.5"] if device.startswith("cuda") else []
    command += ["--out", str(out), "--data-root", str(data_root), "--checkpoint-every", "20"]
    note = f"{dataset}, ratio 100, budget {budget}"
    if seconds > _LEAST_SECONDS:
        _run(command, seconds)
    found = list(_recorded(out, note))
    return found or [Row("cell", note, "accuracy %", note="unfinished; the same command resumes")]


def _run(command: list[str], seconds: float) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        process.wait(max(1.0, seconds - _GRACE_SECONDS) if seconds > 2 * _GRACE_SECONDS else seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(2 * _GRACE_SECONDS)


def _recorded(out: Path, note: str) -> Iterator[Row]:
    for record in Store(out, "imbalanced").records():
        for evaluation in record.evaluations:
            for name in evaluation.rows:
                accuracy = 100 * float(evaluation.metrics[name]["accuracy"])
                seconds = float(record.done["train_seconds"])
                yield Row("cell", f"{note}, {name}", "accuracy %", accuracy, seconds=seconds)


def _has_files(name: str, data_root: Path) -> bool:
    try:
        dataset_named(name).load("test", "images", data_root)
    except UserError:
        return False
    return True
