"""Few-shot learning: train on episodes of some classes, test on episodes of others."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sla_bench.augment import ImageBatches
from sla_bench.backbones.base import Backbone
from sla_bench.config import FewShotEvaluation, FewShotRun, Precision
from sla_bench.datasets.base import Dataset, LabeledImages, Split
from sla_bench.datasets.named import dataset_named
from sla_bench.embedding import embed, episode_chunks
from sla_bench.episodes import EpisodeSampler, FlatEpisodes, disjoint_episodes, test_episodes
from sla_bench.metrics import class_jackknife, few_shot_metrics
from sla_bench.objectives.base import EpisodeFeatures, EpisodeObjective
from sla_bench.registry import BACKBONES, LEARNERS, METHODS, TRANSFORMS
from sla_bench.scenarios.base import (
    ANY_TRANSFORM,
    Evaluation,
    Member,
    RunCheckpoints,
    Training,
    batch_in_words,
    first_images,
    member_states,
    train_members,
)
from sla_bench.seeds import derive_seed, torch_seeded
from sla_bench.training import (
    Checkpoints,
    GeneratorSource,
    Progress,
    TrainingResult,
    autocast,
    silent,
    train,
)
from sla_bench.transforms import Transform

VALIDATION_QUERIES = 15


class EpisodicModel(nn.Module):
    """A backbone with a few-shot head and, for objectives that ask for it, a classifier of the view."""

    def __init__(self, backbone: Backbone, head: nn.Module, view_head: nn.Module | None) -> None:
        super().__init__()
        self.backbone, self.head, self.view_head = backbone, head, view_head


def build_objective(config: FewShotRun, transform: str) -> EpisodeObjective:
    """Build the config's objective over the views of `transform`.

    Raises:
        UserError: an option of the method has a wrong value.
    """
    return METHODS.load(config.method)(TRANSFORMS.load(transform), **config.method_options)


def build_model(
    config: FewShotRun, dataset: Dataset, objective: EpisodeObjective, seed: int
) -> EpisodicModel:
    """Build a model; its initial weights depend on `seed`, backbone and head, and not on the objective.

    Raises:
        UserError: an option of the backbone or the learner has a wrong value, or the images are too small.
    """
    with torch_seeded(derive_seed(seed, "initial weights")):
        backbone: Backbone = BACKBONES.load(config.backbone)(
            dataset.properties.size, **config.backbone_options
        )
        head = LEARNERS.load(config.learner)(**config.learner_options)
        view_head = objective.view_head(backbone.num_features)
    backbone.seed_dropout(derive_seed(seed, "dropout"))
    return EpisodicModel(backbone, head, view_head)


def load_images(config: FewShotRun, split: Split, data_root: Path) -> LabeledImages:
    """Read one split with the classes that the config's seed gives it (fixed ones for most data sets)."""
    return dataset_named(config.dataset).load(split, "classes", data_root, split_seed=config.seed)


class EpisodeReader:
    """A set of images and fixed episodes on it; reads models on them, each image embedded once per view.

    Args:
        images: the images.
        dataset: gives their normalisation.
        per_class: only the first so many images of each class; None means all.
        device: where to compute.
    """

    def __init__(
        self, images: LabeledImages, dataset: Dataset, per_class: int | None, device: torch.device
    ) -> None:
        self.index = torch.from_numpy(first_images(images.labels, per_class))
        self.labels = torch.from_numpy(images.labels)[self.index]
        self.batches = ImageBatches(images, dataset.properties, device=device)
        self.device = device

    def embeddings(
        self,
        model: EpisodicModel,
        transform: Transform | None,
        precision: Precision,
        progress: Progress = silent,
    ) -> Tensor:
        """Embed every image in all views of the transformation, or (None) as it is: (N, M, D)."""
        return embed(
            model.backbone,
            self.batches,
            self.index,
            transform,
            precision=precision,
            device=self.device,
            progress=lambda done, total: progress("embedding", done, total),
        )

    def hits(
        self,
        models: list[EpisodicModel],
        embeddings: list[Tensor],
        objective: EpisodeObjective,
        episodes: FlatEpisodes,
        rows: list[str],
        progress: Progress = silent,
    ) -> dict[str, Tensor]:
        """Count the correct queries of each way: row -> int64 (T, W); logits are averaged over the models."""
        ways = episodes.classes.shape[1]
        counted = {row: torch.zeros(episodes.classes.shape, dtype=torch.int64) for row in rows}
        parts = zip(*(episode_chunks(e, episodes.support, episodes.query) for e in embeddings), strict=True)
        with torch.no_grad():
            for chunks in parts:
                which = chunks[0].episodes
                labels = episodes.query_labels[which].to(self.device)
                read = [
                    objective.read(
                        EpisodeFeatures(
                            chunk.support,
                            episodes.support_labels[which].to(self.device),
                            chunk.query,
                            labels,
                            ways,
                        ),
                        model.head,
                    )
                    for model, chunk in zip(models, chunks, strict=True)
                ]
                for row in rows:
                    logits = torch.stack([r[row] for r in read]).mean(0)
                    correct = (logits.argmax(-1) == labels).long()
                    counted[row][which] = (
                        torch.zeros_like(labels[:, :ways]).scatter_add_(1, labels, correct).cpu()
                    )
                progress("testing", which.stop, len(episodes.classes))
        return counted


def run(
    config: FewShotRun,
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
    checkpoints: RunCheckpoints | None = None,
) -> Training:
    """Train the members of a run and return their weights at the best validation accuracy, or the last.

    Args:
        config: the training.
        data_root: where the data lie.
        device: where to compute.
        progress: told each step.
        checkpoints: where the training goes on from and what it leaves.

    Raises:
        UserError: the data can't serve the setting, an option is wrong, or the loss is not finite.
    """
    dataset = dataset_named(config.dataset)
    objective = build_objective(config, config.transform or ANY_TRANSFORM)
    images = load_images(config, "train", data_root)
    labels, batches = images.labels, ImageBatches(images, dataset.properties, device=device)
    validation = EpisodeReader(
        load_images(config, "val", data_root), dataset, config.validation_images, device
    )

    way_factor = objective.num_views if METHODS[config.method].way_factor else 1
    per_way = (config.train_shots + config.train_queries) * config.batch_episodes
    views = objective.copies * (objective.num_views if objective.trains_on_views else 1)
    images_per_step = config.train_ways * way_factor * per_way * views

    def train_one(seed: int, own: Checkpoints | None) -> Member:
        model = build_model(config, dataset, objective, seed).to(device)
        result = _train_member(config, objective, model, labels, batches, validation, seed, progress, own)
        images = config.steps * objective.step_factor * images_per_step
        return Member(result, images, sum(p.numel() for p in model.parameters()), objective.members)

    training = train_members(config.seed, train_one, checkpoints)
    best = pd.DataFrame(training.history).groupby("member")["val_accuracy"].max()
    training.summary["val_accuracy"] = best.tolist()
    return training


def _train_member(
    config: FewShotRun,
    objective: EpisodeObjective,
    model: EpisodicModel,
    labels: np.ndarray,
    batches: ImageBatches,
    validation: EpisodeReader,
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | None,
) -> TrainingResult:
    method, views = METHODS[config.method], objective.num_views
    sampler = EpisodeSampler(
        labels,
        ways=config.train_ways * (views if method.way_factor else 1),
        shots=config.train_shots,
        queries=config.train_queries,
        seed=derive_seed(seed, "training episodes"),
        views=views if method.pools_views else 1,
    )
    generator = torch.Generator().manual_seed(derive_seed(seed, "augmentation"))
    device = validation.device
    latest = torch.empty(0, dtype=torch.int64)

    def features_of(index: Tensor, view_of_way: Tensor) -> Tensor:
        shape = index.shape
        index = index.flatten().repeat_interleave(objective.copies)
        batch = batches.augmented(index, generator)
        if method.pools_views:
            batch = objective.transform.apply(batch, view_of_way.flatten().to(device))
        if objective.trains_on_views:
            batch = objective.transform.views(batch).flatten(0, 1)
        with autocast(config.precision, device):
            features = model.backbone(batch.contiguous(memory_format=torch.channels_last))
        return features.float().view(*shape, -1, features.shape[-1])

    def batch_loss(done: Fraction) -> tuple[Tensor, Tensor]:
        nonlocal latest
        del done
        episodes = sampler.sample(config.batch_episodes).flatten(generator)
        latest = torch.cat([episodes.support.flatten(), episodes.query.flatten()])
        features = EpisodeFeatures(
            features_of(episodes.support, episodes.support_views),
            episodes.support_labels.to(device),
            features_of(episodes.query, episodes.query_views),
            episodes.query_labels.to(device),
            ways=episodes.classes.shape[1],
        )
        return objective.loss(features, model.head, config.label_smoothing, model.view_head)

    episodes = test_episodes(
        validation.labels,
        ways=config.train_ways,
        shots=config.val_shots,
        queries=VALIDATION_QUERIES,
        count=config.validation_episodes,
        seed=derive_seed("validation"),
    )

    row = objective.selection_row
    reads_views = objective.rows[row].support > objective.members

    def validate() -> float:
        transform = objective.transform if reads_views else None
        embeddings = validation.embeddings(model, transform, config.precision)
        hits = validation.hits([model], [embeddings], objective, episodes, [row])[row]
        return float(hits.double().mean()) / VALIDATION_QUERIES

    model.to(memory_format=torch.channels_last)
    return train(
        model,
        batch_loss,
        validate,
        config,
        steps=config.steps * objective.step_factor,
        choose_best=config.selection == "validation",
        after_step=model.backbone.advance,
        progress=progress,
        checkpoints=checkpoints,
        sources={
            "sampler": sampler,
            "augmentation": GeneratorSource(generator),
            "dropout": GeneratorSource(model.backbone.generator),
        },
        batch=lambda: batch_in_words(seed, latest),
    )


def evaluate(
    config: FewShotRun,
    evaluation: FewShotEvaluation,
    state: dict[str, Tensor],
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
) -> Evaluation:
    """Read a trained model on the test episodes.

    Samples: `classes` (T, W) and `hits/<row>` (T, W), the correct queries of each way, for
    max(episodes, jackknife_episodes) episodes; `open_classes`, `open_hits/<row>` for the tasks with disjoint
    images. The first `episodes` episodes give the accuracy.

    Args:
        config: the training that the weights come from.
        evaluation: the test.
        state: as `Training.state`.
        data_root: where the data lie.
        device: where to compute.
        progress: told each batch.

    Raises:
        UserError: the test classes can't serve the setting.
    """
    dataset = dataset_named(config.dataset)
    objective = build_objective(config, evaluation.transform)
    reader = EpisodeReader(
        load_images(config, "test", data_root), dataset, evaluation.images_per_class, device
    )
    setting = {"ways": evaluation.ways, "shots": evaluation.shots, "queries": evaluation.queries}
    count = max(evaluation.episodes, evaluation.jackknife_episodes)
    closed = test_episodes(
        reader.labels, **setting, count=count, seed=derive_seed("test", evaluation.test_seed)
    )
    open_tasks = disjoint_episodes(
        reader.labels, **setting, seed=derive_seed("open test", evaluation.test_seed)
    )
    models, embeddings = [], []
    for member in member_states(state):
        model = build_model(config, dataset, objective, config.seed).to(device).eval()
        model.load_state_dict(member)
        models.append(model)
        embeddings.append(reader.embeddings(model, objective.transform, config.precision, progress))
    rows = list(objective.rows)
    started = time.perf_counter()
    hits = reader.hits(models, embeddings, objective, closed, rows, progress)
    open_hits = reader.hits(models, embeddings, objective, open_tasks, rows)
    seconds = time.perf_counter() - started
    samples = {"classes": closed.classes.numpy().astype(np.int16)}
    samples["open_classes"] = open_tasks.classes.numpy().astype(np.int16)
    metrics = {}
    for row in rows:
        samples[f"hits/{row}"] = hits[row].numpy().astype(np.uint8)
        samples[f"open_hits/{row}"] = open_hits[row].numpy().astype(np.uint8)
        metrics[row] = {
            **few_shot_metrics(
                samples[f"hits/{row}"][: evaluation.episodes],
                samples["classes"][: evaluation.episodes],
                evaluation.queries,
                open_hits=samples[f"open_hits/{row}"],
            ),
            "jackknife_se": class_jackknife(samples[f"hits/{row}"], samples["classes"], evaluation.queries),
            "support_passes": objective.rows[row].support,
            "query_passes": objective.rows[row].query,
            "head_seconds": seconds,
        }
    return Evaluation(metrics, samples)
