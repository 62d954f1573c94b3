"""Recorded trainings to analyses of their views: choice and work."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sla_bench.config import ClassifierEvaluation
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.records.analyses import ViewsOf, read_analysis, write_analysis
from sla_bench.records.in_progress import claim
from sla_bench.records.jobs import Fingerprints
from sla_bench.records.record_files import WEIGHTS, kept_weights
from sla_bench.records.store import EvaluationRecord, RunRecord
from sla_bench.registry import SCENARIOS

if TYPE_CHECKING:
    import torch

    from sla_bench.training.loop import Progress


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
    """One for each training and the views that it was tested with; of several tests that of most images."""
    found = []
    for record in records:
        largest: dict[str, EvaluationRecord] = {}
        for evaluation in sorted(record.evaluations, key=lambda e: _test(e).images_per_class or sys.maxsize):
            largest[evaluation.config.transform] = evaluation
        found += [Analysis(record, evaluation) for evaluation in largest.values()]
    return found


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
    from sla_bench.records.saved_classifier import load_models
    from sla_bench.scenarios.classify.image_reader import TestImages, read_views

    config, test = run.config, _test(evaluation)
    by = SCENARIOS[config.scenario].by
    if prints.of(config.dataset, "test", by, config.seed) != evaluation.data_hash:
        place = dataset_named(config.dataset).where(data_root)
        raise UserError(f"tested on other images of {config.dataset} than {place} holds now")
    # As in the evaluation: on a processor, results depend on it.
    torch.set_num_threads(config.threads)
    saved = load_models(run.folder, device, test.transform)
    images = TestImages(config, saved.class_names, test.images_per_class, data_root, device)
    samples = read_views(images, saved.models, progress)
    objective = saved.models[0].objective
    heads = {}
    for name in (key.partition("/")[2] for key in samples if key.startswith("classes/")):
        invariant = "invariant" if name in objective.method.invariant_heads else "upright"
        taught = "joint" if f"joint/{name}" in samples else invariant
        heads[name] = {"taught": taught, **head_metrics(samples, name)}
    transform = objective.transform
    write_analysis(run, evaluation, ViewsOf(transform.view_names, transform.view_turns), heads, samples)
