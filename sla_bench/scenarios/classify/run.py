"""Training and test of a scenario with fixed classes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from sla_bench.config import (
    Acceleration,
    ClassifierEvaluation,
    ImbalancedEvaluation,
    ImbalancedRun,
    Precision,
    StandardRun,
)
from sla_bench.data.base import Dataset
from sla_bench.data.named import dataset_named
from sla_bench.data.splits import Subset
from sla_bench.models.losses.base import Criterion
from sla_bench.objectives.classes import Classes
from sla_bench.registry import MIXES
from sla_bench.scenarios.base import (
    ANY_TRANSFORM,
    FEATURES,
    Evaluation,
    Member,
    RunCheckpoints,
    Shared,
    Training,
    load_members,
    train_members,
)
from sla_bench.scenarios.classify.classifier import (
    ClassifierModel,
    build_classifier,
    single_hits,
    train_classifier,
)
from sla_bench.scenarios.classify.image_reader import TestImages, check_same_classes
from sla_bench.scenarios.classify.stage_two import StageTwoReader, evaluate_stage_two
from sla_bench.training.loop import Checkpoints, Progress, silent
from sla_bench.views.augment import ImageBatches
from sla_bench.views.mixing import Mix

RunT = TypeVar("RunT", ImbalancedRun, StandardRun)
Accuracy = Callable[[ClassifierModel], float]
"""Accuracy in 0..1 of a model on the images that it is validated on."""


@dataclass(frozen=True)
class TrainingImages(Subset):
    """Images of a training, as far as its test has to know them too.

    Args:
        groups: int64 (N,), index into GROUP_NAMES of each class.
    """

    groups: np.ndarray


class Split(NamedTuple):
    """Images that are trained on, and images that are validated on, which may be none."""

    train: Subset
    validation: Subset


@dataclass(frozen=True)
class ClassifierScenario(Generic[RunT]):
    """Trains on fixed classes and tests on their test images.

    Args:
        choose: (run, data root) -> the images that training and test have to know.
        split: (run, these images) -> those of the training and of its validation.
        criterion: run -> what builds the loss from the images of each class, int64 (N,).
        steps: (run, number of images) -> steps of a baseline at the recipe's batch.
        accuracy: (hits bool (n,), labels int64 (n,)) of the validation images -> accuracy in 0..1.
        sampler: how training images are drawn, as `ClassSampler`.
        validates_on_test: the weights are chosen on the test images.
        unseen: (run, these images) -> training images that the backbone never saw, for heads of stage two.
    """

    choose: Callable[[RunT, Path], TrainingImages]
    split: Callable[[RunT, TrainingImages], Split]
    criterion: Callable[[RunT], Callable[[Tensor], Criterion]]
    steps: Callable[[RunT, int], int]
    accuracy: Callable[[np.ndarray, np.ndarray], float]
    sampler: Callable[[RunT], str] = lambda config: "uniform"
    validates_on_test: Callable[[RunT], bool] = lambda config: False
    unseen: Callable[[RunT, TrainingImages], Subset] | None = None

    def build_model(
        self,
        config: RunT,
        dataset: Dataset,
        counts: np.ndarray,
        transform: str,
        seed: int,
        features: Path | None = None,
    ) -> ClassifierModel:
        """Build a model with the scenario's loss; see `build_classifier`.

        Raises:
            UserError: an option of the backbone, the method or the loss has a wrong value.
        """
        classes = Classes(torch.from_numpy(counts), self.criterion(config), config.loss_reduction)
        return build_classifier(config, dataset, classes, transform, seed, features)

    def run(
        self,
        config: RunT,
        data_root: Path,
        device: torch.device,
        progress: Progress = silent,
        checkpoints: RunCheckpoints | None = None,
        acceleration: Acceleration = "eager",
    ) -> Training:
        """Train the members of a run and return their weights at the best validation, or at the last step.

        Args:
            config: the training.
            data_root: where the data lie.
            device: where to compute.
            progress: told each step.
            checkpoints: read at the start and written on the way.
            acceleration: how the backbone is run.

        Raises:
            UserError: the data can't serve the setting, an option is wrong, or the loss is not finite.
        """
        dataset, chosen = dataset_named(config.dataset), self.choose(config, data_root)
        data, held_out = self.split(config, chosen)
        class_names = chosen.images.class_names
        check_same_classes(config.dataset, class_names, dataset.load("test", "images", data_root).class_names)
        batches = ImageBatches(chosen.images, dataset.properties, device=device)
        mix: Mix = MIXES.load(config.mix)(dataset.properties, **config.mix_options)
        validate = None
        if self.validates_on_test(config):
            validate = _accuracy_on(TestImages(config, class_names, None, data_root, device))
        elif len(held_out.index):
            validate = self._single_accuracy(batches, held_out, config.precision)

        def train_one(seed: int, own: Checkpoints | None) -> Member:
            transform = config.transform or ANY_TRANSFORM
            folder = data_root / FEATURES
            model = self.build_model(config, dataset, data.counts, transform, seed, folder).to(device)
            member = train_classifier(
                config,
                model,
                data,
                batches,
                self.steps(config, len(data.index)),
                seed,
                self.sampler(config),
                mix=mix,
                validate=validate,
                choose_best=config.selection != "last",
                progress=progress,
                checkpoints=own,
                acceleration=acceleration,
            )
            return dataclasses.replace(member, members=member.members * config.members)

        training = train_members(config.seed, train_one, checkpoints)
        training.summary |= {
            "class_names": list(class_names),
            "class_counts": data.counts.tolist(),
            "groups": chosen.groups.tolist(),
            "subset_hash": data.checksum,
            "validation_images": len(held_out.index),
        }
        return training

    def _single_accuracy(self, batches: ImageBatches, held_out: Subset, precision: Precision) -> Accuracy:
        return lambda model: self.accuracy(single_hits(model, batches, held_out, precision), held_out.labels)

    def evaluate(
        self,
        config: RunT,
        evaluation: ClassifierEvaluation,
        state: dict[str, Tensor],
        data_root: Path,
        device: torch.device,
        progress: Progress = silent,
        shared: Shared | None = None,
    ) -> Evaluation:
        """Read a trained model on the test images.

        Args:
            config: the training that the weights come from.
            evaluation: the test.
            state: as `Training.state`.
            data_root: where the data lie.
            device: where to compute.
            progress: told each batch.
            shared: with other evaluations of the training.

        Raises:
            UserError: training and test classes differ, or the model's scores are not finite.
        """
        if isinstance(evaluation, ImbalancedEvaluation) and evaluation.stage_two is not None:
            images = evaluation.model_copy(update={"stage_two": None}).model_dump_json()
            reader, groups = (shared or Shared()).once(
                images, lambda: self._stage_two_reader(config, evaluation, state, data_root, device)
            )
            return evaluate_stage_two(evaluation.stage_two, reader, groups, progress)
        models, test, chosen = self._read_off(config, evaluation, state, data_root, device)
        read = test.evaluate(models, chosen.groups, progress)
        return read if config.members == 1 else _as_ensemble(read, config.members)

    def _read_off(
        self,
        config: RunT,
        evaluation: ClassifierEvaluation,
        state: dict[str, Tensor],
        data_root: Path,
        device: torch.device,
    ) -> tuple[list[ClassifierModel], TestImages, TrainingImages]:
        """The models of a training, the images of a test, and those of the training."""
        dataset, chosen = dataset_named(config.dataset), self.choose(config, data_root)
        class_names, images = chosen.images.class_names, evaluation.images_per_class
        test = TestImages(config, class_names, images, data_root, device, evaluation.test_seed)
        build = functools.partial(
            self.build_model,
            config,
            dataset,
            chosen.counts,
            evaluation.transform,
            config.seed,
            data_root / FEATURES,
        )
        return load_members(state, build, device), test, chosen

    def _stage_two_reader(
        self,
        config: RunT,
        evaluation: ClassifierEvaluation,
        state: dict[str, Tensor],
        data_root: Path,
        device: torch.device,
    ) -> tuple[StageTwoReader, np.ndarray]:
        """The embedded images, which do not depend on the kind of head, and the group of each class."""
        assert self.unseen is not None
        models, test, chosen = self._read_off(config, evaluation, state, data_root, device)
        train, held_out = self.split(config, chosen).train, self.unseen(config, chosen)
        batches = ImageBatches(chosen.images, dataset_named(config.dataset).properties, device=device)
        return StageTwoReader(models[0], test, batches, train, held_out, config.seed), chosen.groups


def _accuracy_on(test: TestImages) -> Accuracy:
    def accuracy(model: ClassifierModel) -> float:
        predictions = test.read([model])[next(iter(model.objective.rows))].classes
        return float((predictions == test.labels).mean())

    return accuracy


def _as_ensemble(read: Evaluation, size: int) -> Evaluation:
    """Say in the names of the rows that they are of so many models, and what these cost at test."""

    def named(name: str) -> str:
        return f"{name} ens-{size}"

    metrics = {
        named(row): {**values, "query_passes": size * values["query_passes"]}
        for row, values in read.metrics.items()
    }
    samples = {named(n) if "/" in n else n: values for n, values in read.samples.items()}
    return Evaluation(metrics, samples)
