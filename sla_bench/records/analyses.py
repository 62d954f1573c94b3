"""Analyses of recorded evaluations: predictions on every view; without torch."""

# results/<scenario>/runs/<run_id>/analyses/<eval_id>/    samples.npz metrics.json
#
# An analysis has the images and the views of the evaluation of that id. `metrics.json` is written last.

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sla_bench.records.files import json_bytes, write_together
from sla_bench.records.store import EvaluationRecord, RunRecord

ANALYSIS_VERSION = 1
"""Rises with what is recorded; an analysis of another version is made again."""


class ViewsOf(NamedTuple):
    """The M views of a label augmentation: a short name of each, and its counter-clockwise quarter turns."""

    names: tuple[str, ...]
    turns: tuple[int, ...]


@dataclass(frozen=True)
class AnalysisRecord:
    """One analysis on disk.

    Args:
        run: the training.
        evaluation: of the same images and views.
        folder: where it lies.
        views: of the images.
        heads: head -> its metrics, as `sla_bench.evaluation.view_metrics.head_metrics`, and `taught`:
            "upright" (images as they are), "invariant" (one label for all views) or "joint" (a label for
            each view).
    """

    run: RunRecord
    evaluation: EvaluationRecord
    folder: Path
    views: ViewsOf
    heads: dict[str, dict[str, Any]]

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """The arrays of samples.npz."""
        with np.load(self.folder / "samples.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def write_analysis(
    run: RunRecord,
    evaluation: EvaluationRecord,
    views: ViewsOf,
    heads: Mapping[str, Mapping[str, Any]],
    samples: Mapping[str, np.ndarray],
) -> None:
    """Write an analysis; metrics.json comes last.

    Args:
        run: the training.
        evaluation: whose images and views it is of.
        views: of the images.
        heads: as `AnalysisRecord`.
        samples: what the figures come from.

    Raises:
        UserError: no permission, or the disk is full.
    """
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **samples)  # type: ignore[arg-type]
    about = {
        "version": ANALYSIS_VERSION,
        "protocol": evaluation.config.protocol,
        "data_hash": evaluation.data_hash,
        "views": views._asdict(),
        "heads": heads,
    }
    files = {"samples.npz": arrays.getvalue(), "metrics.json": json_bytes(about)}
    write_together(_folder(run, evaluation), files)


def read_analysis(run: RunRecord, evaluation: EvaluationRecord) -> AnalysisRecord | None:
    """The analysis of an evaluation; None where there is none that this version can read."""
    folder = _folder(run, evaluation)
    try:
        about = json.loads((folder / "metrics.json").read_bytes())
        if about["version"] != ANALYSIS_VERSION or about["data_hash"] != evaluation.data_hash:
            return None
        with zipfile.ZipFile(folder / "samples.npz") as file:
            if file.testzip() is not None:
                return None
        views = ViewsOf(*(tuple(about["views"][name]) for name in ViewsOf._fields))
        return AnalysisRecord(run, evaluation, folder, views, dict(about["heads"]))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def read_analyses(records: Iterable[RunRecord]) -> Iterator[AnalysisRecord]:
    """All analyses of some records, in their order."""
    for record in records:
        # Most of ten thousand records have none, which is found out once for all their evaluations.
        if (record.folder / "analyses").is_dir():
            found = (read_analysis(record, evaluation) for evaluation in record.evaluations)
            yield from (analysis for analysis in found if analysis is not None)


def _folder(run: RunRecord, evaluation: EvaluationRecord) -> Path:
    return run.folder / "analyses" / evaluation.folder.name
