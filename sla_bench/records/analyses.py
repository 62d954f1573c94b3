"""Analyses of recorded runs: predictions on every view of test images."""

# results/<scenario>/runs/<run_id>/analyses/<eval_id>/    samples.npz metrics.json
#
# An analysis has the images and the views of the evaluation of that id. `metrics.json` is written last.

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sla_bench.config import ClassifierEvaluation, ImbalancedRun, StandardRun
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.records.files import json_bytes, write_together
from sla_bench.records.in_progress import claim
from sla_bench.records.jobs import Fingerprints
from sla_bench.records.record_files import WEIGHTS, kept_weights, recorded_threads, samples_bytes
from sla_bench.records.store import EvaluationRecord, RunRecord
from sla_bench.registry import SCENARIOS

if TYPE_CHECKING:
    import torch

    from sla_bench.training.loop import Progress

ANALYSIS_VERSION = 2
"""Rises with what is recorded; an analysis of another version is made again."""


class ViewsOf(NamedTuple):
    """The M views of a transform: a short name of each, and its counter-clockwise quarter turns."""

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
            each view). Of the first head of one network also `probes`: name -> accuracy on upright images of
            a head that was fitted on its embeddings.
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
    about = {
        "version": ANALYSIS_VERSION,
        "protocol": evaluation.config.protocol,
        "data_hash": evaluation.data_hash,
        "views": views._asdict(),
        "heads": heads,
    }
    files = {"samples.npz": samples_bytes(samples), "metrics.json": json_bytes(about)}
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


class Analysis(NamedTuple):
    """A training, and the evaluation whose images and views are read."""

    run: RunRecord
    evaluation: EvaluationRecord

    def is_recorded(self) -> bool:
        """Nothing is left to do."""
        return read_analysis(*self) is not None


def has_model(record: RunRecord) -> bool:
    """The weights of the training were kept."""
    return (record.folder / WEIGHTS).exists()


def check_analysable(record: RunRecord) -> None:
    """Refuse a run that has no classifier, no weights, or no evaluation.

    Raises:
        UserError: so it is.
    """
    scenario = record.config.scenario
    if not SCENARIOS[scenario].fixed_classes:
        able = ", ".join(name for name, entry in SCENARIOS.items() if entry.fixed_classes)
        raise UserError(
            f"run {record.run_id} is of the scenario {scenario}, whose classes are new in each test episode: "
            f"it has no classes to confuse; `analyse` takes runs of {able}, and `leaderboard {scenario}` "
            "shows single beside aggregated inference"
        )
    kept_weights(record.folder)
    if not record.evaluations:
        raise UserError(f"run {record.run_id} was never tested; `evaluate {record.run_id}` does it")


def analyses_of(records: Iterable[RunRecord]) -> list[Analysis]:
    """One for each training and the views that it was tested with; of several tests that of most images.

    Of equal ones it is that of the smallest test seed, which draws crops, and no analysis reads crops.
    """
    found = []
    for record in records:
        largest: dict[str, EvaluationRecord] = {}
        tests = (e for e in record.evaluations if getattr(e.config, "stage_two", None) is None)
        for evaluation in sorted(tests, key=_size):
            largest[evaluation.config.transform] = evaluation
        found += [Analysis(record, evaluation) for evaluation in largest.values()]
    return found


def _size(evaluation: EvaluationRecord) -> tuple[int, int]:
    test = _test(evaluation)
    return test.images_per_class or sys.maxsize, -test.test_seed


def _test(evaluation: EvaluationRecord) -> ClassifierEvaluation:
    assert isinstance(evaluation.config, ClassifierEvaluation)
    return evaluation.config


def perform_analysis(
    analysis: Analysis, data_root: Path, device: torch.device, prints: Fingerprints, progress: Progress
) -> None:
    """Read the models of a training on every view of its test images, and record it, unless that is done.

    Args:
        analysis: what to do.
        data_root: where the data lie.
        device: where to compute.
        prints: of the data below `data_root`.
        progress: told each batch.

    Raises:
        RunClaimedError: another process works on the run.
        UserError: the data are missing or not those of the evaluation, the record is damaged, or nothing can
            be written.
    """
    with claim(analysis.run.folder / ".lock"):
        # Another process may have done it since it was seen to be open.
        if not analysis.is_recorded():
            _perform(*analysis, data_root, device, prints, progress)


def _perform(
    run: RunRecord,
    evaluation: EvaluationRecord,
    data_root: Path,
    device: torch.device,
    prints: Fingerprints,
    progress: Progress,
) -> None:
    import torch

    from sla_bench.evaluation.view_metrics import head_metrics
    from sla_bench.records.classifiers import load_models
    from sla_bench.scenarios.classify.image_reader import TestImages, read_views
    from sla_bench.scenarios.classify.stage_two import read_probes

    config, test = run.config, _test(evaluation)
    by = SCENARIOS[config.scenario].by
    if prints.of(config.dataset, "test", by, config.seed) != evaluation.data_hash:
        place = dataset_named(config.dataset).where(data_root)
        raise UserError(f"tested on other images of {config.dataset} than {place} holds now")
    # As in the evaluation: on a processor, results depend on it.
    torch.set_num_threads(recorded_threads(run.folder))
    saved = load_models(run.folder, device, test.transform)
    images = TestImages(config, saved.class_names, test.images_per_class, data_root, device)
    samples = read_views(images, saved.models, progress)
    objective = saved.models[0].objective
    heads: dict[str, dict[str, Any]] = {}
    for name in (key.partition("/")[2] for key in samples if key.startswith("classes/")):
        invariant = "invariant" if name in objective.method.invariant_heads else "upright"
        taught = "joint" if f"joint/{name}" in samples else invariant
        heads[name] = {"taught": taught, **head_metrics(samples, name)}
    if len(saved.models) == 1:
        assert isinstance(config, ImbalancedRun | StandardRun)
        if prints.of_training(config.dataset, config.scenario, config.seed) != run.done.get("data_hash"):
            place = dataset_named(config.dataset).where(data_root)
            raise UserError(f"trained on other images of {config.dataset} than {place} holds now")
        probes = read_probes(config, saved.models[0], images, data_root, progress)
        samples |= probes
        right = {n.partition("/")[2]: float((p == samples["labels"]).mean()) for n, p in probes.items()}
        next(iter(heads.values()))["probes"] = right
    transform = objective.transform
    write_analysis(run, evaluation, ViewsOf(transform.view_names, transform.view_turns), heads, samples)
