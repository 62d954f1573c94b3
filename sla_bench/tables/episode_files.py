"""The pictures of single test episodes, drawn again from a record's seeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from sla_bench.config import FewShotEvaluation, FewShotRun
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.grids.settings import written_out
from sla_bench.records.jobs import Fingerprints
from sla_bench.records.store import EvaluationRecord, RunRecord
from sla_bench.scenarios.base import first_images
from sla_bench.scenarios.fewshot.tested_episodes import closed_episodes, load_test, tested_on

_DASH = re.compile(r"(\d+)-(\d+)")


def episode_numbers(text: str) -> list[int]:
    """Numbers of episodes, from 0, as in "3", "0-4", "0..4" or "1,3".

    Raises:
        UserError: a text without numbers, or a range that falls.
    """
    try:
        found = [int(part) for part in written_out(int, [_DASH.sub(r"\1..\2", text)])]
    except ValueError as error:
        raise UserError(f"--episodes {text}: {error}; write 3, 0-4 or 1,3") from None
    if not found or min(found) < 0:
        raise UserError(f"--episodes {text}: episodes count from 0; write 3, 0-4 or 1,3")
    return found


def show_episodes(record: RunRecord, numbers: Sequence[int], data_root: Path) -> Iterator[str]:
    """Lines on test episodes of each evaluation of a few-shot run: supports, queries and hits of each class.

    Args:
        record: the run.
        numbers: of the episodes, from 0.
        data_root: where the data lie.

    Raises:
        UserError: a run without episodes, a number that is too large, or data that have changed.
    """
    if not isinstance(record.config, FewShotRun):
        raise UserError(
            f"run {record.run_id} is of the scenario {record.config.scenario}, which has no episodes; "
            "--episodes is for few-shot runs"
        )
    if not record.evaluations:
        raise UserError(f"run {record.run_id} was never tested; `evaluate {record.run_id}` does it")
    for evaluation in record.evaluations:
        yield from _of_evaluation(record.config, evaluation, numbers, data_root)


def _of_evaluation(
    config: FewShotRun, evaluation: EvaluationRecord, numbers: Sequence[int], data_root: Path
) -> Iterator[str]:
    test = evaluation.config
    assert isinstance(test, FewShotEvaluation)
    name = tested_on(config, test)
    dataset = dataset_named(name).pinned()
    if Fingerprints(data_root).of(name, "test", "classes", config.seed) != evaluation.data_hash:
        raise UserError(f"tested on other images of {name} than {dataset.where(data_root)} holds now")
    images = load_test(config, test, data_root)
    index = first_images(images.labels, test.images_per_class)
    episodes = closed_episodes(torch.from_numpy(images.labels[index]), test)
    recorded = evaluation.samples["classes"]
    if max(numbers) >= len(recorded):
        raise UserError(
            f"--episodes {max(numbers)}: the record keeps the episodes 0 to {len(recorded) - 1:,}"
        )
    if not np.array_equal(episodes.classes[: len(recorded)].numpy(), recorded):
        raise UserError(f"evaluation {evaluation.folder.name}: this version draws other episodes")
    files = dataset.image_files("test", "classes", data_root, config.seed)
    for number in numbers:
        yield f"evaluation {evaluation.folder.name}, {evaluation.asked.words()}, {name}: episode {number}"
        for way, label in enumerate(episodes.classes[number].tolist()):
            hits = ", ".join(
                f"{row} {int(evaluation.samples[f'hits/{row}'][number, way])}" for row in evaluation.rows
            )
            yield f"  class {images.class_names[label]}: of {test.queries} queries right by {hits}"
            parts = {
                "support": (episodes.support, episodes.support_labels),
                "query": (episodes.query, episodes.query_labels),
            }
            for word, (places, labels) in parts.items():
                for place in index[places[number][labels[number] == way].numpy()].tolist():
                    yield f"    {word}  {files[place] if files else f'test image {place}'}"
