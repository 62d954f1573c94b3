"""Trained classifiers read on test images, upright and in all views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sla_bench.config import RunConfig
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.evaluation.class_metrics import classification_metrics, predictions_of, recorded
from sla_bench.evaluation.embedding import embed, embed_crops
from sla_bench.objectives.scores import aggregate, own_columns
from sla_bench.scenarios.base import Evaluation, first_images
from sla_bench.scenarios.classify.classifier import ClassifierModel
from sla_bench.seeds import derive_seed
from sla_bench.training.long_tail import GROUP_NAMES
from sla_bench.training.loop import Progress, silent
from sla_bench.views.augment import ImageBatches

_CHUNK = 2048
"""Test images whose embeddings are held at a time."""


class Predictions(NamedTuple):
    """Of each of T test images: predicted class, its probability, -log of the true class's; each (T,)."""

    classes: np.ndarray
    confidence: np.ndarray
    nll: np.ndarray


def check_same_classes(dataset: str, trained: tuple[str, ...], tested: tuple[str, ...]) -> None:
    """Refuse test images of other classes than the training images.

    Raises:
        UserError: the names, or their order, differ.
    """
    if trained != tested:
        absent = sorted(set(trained) ^ set(tested))
        raise UserError(
            f"{dataset}: training and test images must have the same classes, "
            f"only one of them has {', '.join(absent[:3]) or 'this order'}"
        )


class TestImages:
    """The test images of all classes; reads models on them.

    Args:
        config: names the data set.
        class_names: of the training images; those of the test images must be the same.
        per_class: only the first so many images of each class; None means all.
        data_root: where the data lie.
        device: where to compute.
        seed: draws the crops of +crops.

    Raises:
        UserError: files are missing or damaged, or test and training classes differ.
    """

    def __init__(
        self,
        config: RunConfig,
        class_names: tuple[str, ...],
        per_class: int | None,
        data_root: Path,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        self.seed = seed
        dataset = dataset_named(config.dataset)
        images = dataset.load("test", "images", data_root)
        check_same_classes(config.dataset, class_names, images.class_names)
        self.index = torch.from_numpy(first_images(images.labels, per_class))
        self.labels = images.labels[self.index.numpy()]
        self.batches = ImageBatches(images, dataset.properties, device=device)
        self.precision = config.precision
        self.device = device

    def chunks(self) -> tuple[Tensor, ...]:
        """Positions of the test images, int64 (n,), in order, as many at a time as are embedded together."""
        chunks: tuple[Tensor, ...] = self.index.split(_CHUNK)
        return chunks

    def read(
        self, models: Sequence[ClassifierModel], progress: Progress = silent, crops: bool = False
    ) -> dict[str, Predictions]:
        """Read-off -> what it says of each image; scores are averaged over the models.

        Args:
            models: of one objective, in eval mode.
            progress: told each batch.
            crops: read single inference on crops too, where the objective has a row for it.
        """
        parts: dict[str, list[tuple[np.ndarray, ...]]] = {}
        done = 0
        for index in self.chunks():
            read = [self._scores(model, index) for model in models]
            row = models[0].objective.crops_row
            if crops and row is not None:
                for by_row, model in zip(read, models, strict=True):
                    by_row[row] = self._crop_scores(model, index, done)
            labels = self.labels[done : done + len(index)]
            done += len(index)
            for row in read[0]:
                scores = torch.stack([r[row] for r in read]).mean(0)
                parts.setdefault(row, []).append(predictions_of(scores.double().cpu().numpy(), labels))
            progress("testing", done, len(self.index))
        return {
            row: Predictions(*map(np.concatenate, zip(*chunks, strict=True))) for row, chunks in parts.items()
        }

    def evaluate(
        self, models: Sequence[ClassifierModel], groups: np.ndarray, progress: Progress = silent
    ) -> Evaluation:
        """Compute the metrics of every row from the samples that are stored.

        Args:
            models: of one objective, in eval mode; their scores are averaged.
            groups: int64 (N,), index into GROUP_NAMES of each class.
            progress: told each batch.

        Raises:
            UserError: the scores are not finite.
        """
        objective = models[0].objective
        read = self.read(models, progress, crops=True)
        shown = dict(objective.rows)
        if (crops_row := objective.crops_row) is not None:
            shown[crops_row] = objective.members * objective.num_views
        return self.evaluation_of(read, shown, objective.further_rows, groups)

    def evaluation_of(
        self,
        read: Mapping[str, Predictions],
        shown: Mapping[str, int],
        further: Mapping[str, int],
        groups: np.ndarray,
    ) -> Evaluation:
        """Compute metrics from predictions.

        Samples: `labels` (T,) int32, and for each row `predictions/<row>` (T,) int32, `confidence/<row>` and
        `nll/<row>` (T,) float16. `nll` is -log p of the true class, since p itself underflows in float16.

        Args:
            read: row -> its predictions.
            shown: row of the tables -> passes per test image.
            further: the same of rows that are only recorded.
            groups: int64 (N,), index into GROUP_NAMES of each class.
        """
        samples = {"labels": self.labels.astype(np.int32)}
        metrics = {}
        for row, passes in {**shown, **further}.items():
            predictions = read[row].classes.astype(np.int32)
            confidence, nll = recorded(read[row].confidence), recorded(read[row].nll)
            samples |= {f"predictions/{row}": predictions, f"confidence/{row}": confidence, f"nll/{row}": nll}
            metrics[row] = {
                **classification_metrics(predictions, confidence, nll, self.labels, groups, GROUP_NAMES),
                "query_passes": passes,
                "shown": row in shown,
            }
        return Evaluation(metrics, samples)

    def features(self, model: ClassifierModel, index: Tensor) -> Tensor:
        """Embeddings (B, M, D) of every view of the images at the positions `index` (B,)."""
        return embed(
            model.backbone,
            self.batches,
            index,
            model.objective.transform,
            precision=self.precision,
            device=self.device,
        )

    def _scores(self, model: ClassifierModel, index: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return model.objective.read(self.features(model, index))

    def _crop_scores(self, model: ClassifierModel, index: Tensor, start: int) -> Tensor:
        """Mean scores (B, N) of single inference over the image as it is and M - 1 crops of it."""
        objective = model.objective
        features = embed_crops(
            model.backbone,
            self.batches,
            index,
            objective.num_views,
            derive_seed("test crops", self.seed, start),
            precision=self.precision,
            device=self.device,
        )
        with torch.no_grad():
            scores = objective.read(features.flatten(0, 1).unsqueeze(1))[objective.single_row]
        return scores.view(*features.shape[:2], -1).mean(1)


_JOINT_AXES = 4


def read_views(
    test: TestImages, models: Sequence[ClassifierModel], progress: Progress = silent
) -> dict[str, np.ndarray]:
    """Predict the class of every view of every test image by each head, scores averaged over the models.

    Args:
        test: the images.
        models: of one objective, in eval mode.
        progress: told each batch.

    Returns:
        Samples as `sla_bench.evaluation.view_metrics.head_metrics` takes them, int32.

    Raises:
        UserError: the scores are not finite.
    """
    parts: dict[str, list[Tensor]] = {}
    done = 0
    for index in test.chunks():
        features = [test.features(model, index) for model in models]
        with torch.no_grad():
            for name, found in _predictions(models, features).items():
                parts.setdefault(name, []).append(found.cpu())
        done += len(index)
        progress("reading views", done, len(test.index))
    read = {name: torch.cat(chunks).numpy().astype(np.int32) for name, chunks in parts.items()}
    return {"labels": test.labels.astype(np.int32), **read}


def _predictions(models: Sequence[ClassifierModel], features: Sequence[Tensor]) -> dict[str, Tensor]:
    objectives = [model.objective for model in models]
    pairs = list(zip(objectives, features, strict=True))
    by_head = [objective.by_view(of) for objective, of in pairs]
    found = {}
    for head in by_head[0]:
        scores = _mean([heads[head] for heads in by_head])
        if scores.ndim == _JOINT_AXES:
            found[f"joint/{head}"] = scores.flatten(2).argmax(2)
            found[f"classes/{head}"] = own_columns(scores).argmax(2)
            found[f"aggregated/{head}"] = aggregate(scores).argmax(1)
        else:
            found[f"classes/{head}"] = scores.argmax(2)
            found[f"aggregated/{head}"] = scores.mean(1).argmax(1)
    told = [objective.recognised_view(of) for objective, of in pairs]
    if scores_of := [scores for scores in told if scores is not None]:
        found[f"views/{next(iter(by_head[0]))}"] = _mean(scores_of).argmax(2)
    return found


def _mean(scores: Sequence[Tensor]) -> Tensor:
    mean = torch.stack(list(scores)).mean(0)
    if not torch.isfinite(mean).all():
        raise UserError("the model's scores are not finite; its training has diverged")
    return mean
