"""Heads of stage two: fitted on a trained backbone, read at test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sla_bench.config import ImbalancedRun, StandardRun
from sla_bench.data.named import dataset_named
from sla_bench.data.splits import Subset
from sla_bench.evaluation.class_metrics import predictions_of
from sla_bench.evaluation.embedding import embed
from sla_bench.registry import SCENARIOS, STAGE_TWO
from sla_bench.scenarios.base import Evaluation
from sla_bench.scenarios.classify.classifier import ClassifierModel
from sla_bench.scenarios.classify.image_reader import Predictions, TestImages
from sla_bench.seeds import derive_seed
from sla_bench.training.loop import Progress, silent
from sla_bench.training.stage_two import PROBES, Chosen, Embedded, StageTwo, fit_best
from sla_bench.views.augment import ImageBatches

_CHUNK = 2048
"""Images whose scores are worked out at a time."""


class StageTwoReader:
    """Fits heads on a trained model, whose images are read once for all heads, and as they are.

    Args:
        model: in eval mode.
        test: the test images.
        batches: of the training split.
        train: the images that the backbone was trained on.
        held_out: others of the training split, to choose hyper-parameters on.
        seed: of the run.
    """

    def __init__(
        self,
        model: ClassifierModel,
        test: TestImages,
        batches: ImageBatches,
        train: Subset,
        held_out: Subset,
        seed: int,
    ) -> None:
        self.model, self.test, self.batches = model, test, batches
        self.train, self.held_out = (self._of_split(part) for part in (train, held_out))
        self.seed = derive_seed(seed, "stage two")
        self._test: list[tuple[Tensor, Tensor]] = []

    def fit(self, kind: StageTwo) -> Chosen:
        """Fit a kind of head, and choose its hyper-parameters on the held-out images."""
        norms = self.model.objective.class_norms().to(self.train.scores)
        return fit_best(kind, self.train, self.held_out, norms, self.seed)

    def predict(self, chosen: Chosen, progress: Progress = silent) -> Predictions:
        """Read a head on the test images.

        Raises:
            UserError: the scores are not finite.
        """
        parts, done = [], 0
        for number, index in enumerate(self.test.chunks()):
            if number == len(self._test):
                self._test.append(self._embedded(self.test.batches, index))
            features, scores = self._test[number]
            labels = self.test.labels[done : done + len(index)]
            done += len(index)
            parts.append(predictions_of(chosen.predict(features, scores).double().cpu().numpy(), labels))
            progress("testing", done, len(self.test.index))
        return Predictions(*map(np.concatenate, zip(*parts, strict=True)))

    def _of_split(self, part: Subset) -> Embedded:
        features, scores = self._embedded(self.batches, torch.from_numpy(part.index))
        return Embedded(features, scores, torch.from_numpy(part.labels).to(features.device))

    def _embedded(self, batches: ImageBatches, index: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, D), and scores (n, N) of single inference."""
        objective, test = self.model.objective, self.test
        features = embed(self.model.backbone, batches, index, precision=test.precision, device=test.device)
        with torch.no_grad():
            parts = [objective.read(part)[objective.single_row] for part in features.split(_CHUNK)]
        return features[:, 0], torch.cat(parts)


def evaluate_stage_two(
    name: str, reader: StageTwoReader, groups: np.ndarray, progress: Progress = silent
) -> Evaluation:
    """Fit a kind of head and read it on the test images.

    Args:
        name: of the kind.
        reader: of the trained model.
        groups: int64 (N,), index into GROUP_NAMES of each class.
        progress: told each batch of the test.

    Returns:
        One row, whose metrics have the chosen hyper-parameters and the accuracy on the held-out images.

    Raises:
        UserError: the scores are not finite.
    """
    kind: StageTwo = STAGE_TWO.load(name)()
    chosen = reader.fit(kind)
    row = f"{reader.model.objective.single_row}, {kind.label}"
    found = reader.test.evaluation_of({row: reader.predict(chosen, progress)}, {row: 1}, {}, groups)
    fitted = {"hyper_parameters": chosen.parameters, "validation_accuracy": chosen.accuracy}
    return dataclasses.replace(found, metrics={row: {**found.metrics[row], **fitted}})


_MOST_IMAGES = 100_000
"""Training images that probes are fitted on; of more, so many evenly spaced ones."""


def read_probes(
    config: ImbalancedRun | StandardRun,
    model: ClassifierModel,
    test: TestImages,
    data_root: Path,
    progress: Progress = silent,
) -> dict[str, np.ndarray]:
    """Fit the probes on the training images of a run, and read them on the test images.

    Args:
        config: the training.
        model: in eval mode.
        test: the test images.
        data_root: where the data lie.
        progress: told each batch.

    Returns:
        `probes/<name>` -> predicted classes int32 (T,).

    Raises:
        UserError: files are missing or damaged, or the scores are not finite.
    """
    scenario = SCENARIOS.load(config.scenario)
    chosen = scenario.choose(config, data_root)
    train = scenario.split(config, chosen).train
    spaced = np.unique(np.linspace(0, len(train.index) - 1, min(len(train.index), _MOST_IMAGES)).astype(int))
    train = Subset(train.images, train.index[spaced])
    batches = ImageBatches(train.images, dataset_named(config.dataset).properties, device=test.device)
    # With one candidate there is nothing to choose.
    reader = StageTwoReader(model, test, batches, train, train, config.seed)
    read = {kind.label: reader.predict(reader.fit(kind()), progress) for kind in PROBES}
    return {f"probes/{name}": found.classes.astype(np.int32) for name, found in read.items()}
