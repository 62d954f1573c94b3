"""Few-shot learning: train and test on episodes of different classes."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sla_bench.config import Acceleration, FewShotEvaluation, FewShotRun
from sla_bench.data.base import LabeledImages, Split
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.evaluation.embedding import Views
from sla_bench.evaluation.episode_metrics import few_shot_metrics
from sla_bench.objectives.episodes import CropReader, EpisodeFeatures, OnEpisodes
from sla_bench.registry import LEARNERS, METHODS
from sla_bench.scenarios.base import (
    ANY_TRANSFORM,
    FEATURES,
    Augmenter,
    Evaluation,
    Member,
    RunCheckpoints,
    Shared,
    Training,
    batch_in_words,
    load_members,
    start_backbone,
    train_members,
)
from sla_bench.scenarios.fewshot.class_training import BaseClasses, train_on_classes
from sla_bench.scenarios.fewshot.demands import (
    MOST_VALIDATION_QUERIES,
    test_demand,
    training_demand,
    validation_demand,
    validation_ways,
)
from sla_bench.scenarios.fewshot.episode_reader import (
    EpisodeReader,
    EpisodicModel,
    build_model,
    build_objective,
    plan_steps,
)
from sla_bench.scenarios.fewshot.form import FORM
from sla_bench.scenarios.fewshot.frozen import FrozenReader, best_c, candidates, untrained
from sla_bench.scenarios.fewshot.tested_episodes import closed_episodes, load_test, tested_on
from sla_bench.seeds import derive_seed
from sla_bench.training.acceleration import accelerated
from sla_bench.training.episodes import EpisodeSampler, disjoint_episodes, fixed_episodes
from sla_bench.training.gradient_accumulation import mean_of_parts
from sla_bench.training.loop import (
    Checkpoints,
    GeneratorSource,
    Progress,
    TrainingResult,
    silent,
    train,
)
from sla_bench.views.augment import ImageBatches
from sla_bench.views.transfer import to_device


def _is_centred(config: FewShotRun) -> bool:
    """Whether the head wants the mean embedding of the training classes subtracted."""
    head = LEARNERS.load(config.learner)(**config.learner_options)
    return bool(getattr(head, "centred", False))


def _reads_crops(config: FewShotRun) -> bool:
    """Whether crops are read: the backbone is that of a classifier whose head never saw turned images."""
    if LEARNERS[config.learner].trains_on == "episodes" or config.train == "none":
        return False
    return not METHODS.load(config.method).knows_views


def load_images(config: FewShotRun, split: Split, data_root: Path) -> LabeledImages:
    """Read one split with the classes that the config's seed gives it (fixed ones for most data sets)."""
    return dataset_named(config.dataset).load(split, "classes", data_root, split_seed=config.seed)


def _sizes(images: LabeledImages) -> dict[str, int]:
    return dict(zip(images.class_names, images.class_counts.tolist(), strict=True))


def run(
    config: FewShotRun,
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
    checkpoints: RunCheckpoints | None = None,
    acceleration: Acceleration = "eager",
) -> Training:
    """Train the members of a run and return their weights at the best validation accuracy, or the last.

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
    dataset = dataset_named(config.dataset)
    objective = build_objective(config, config.transform or ANY_TRANSFORM)
    images = load_images(config, "train", data_root)
    labels, batches = images.labels, ImageBatches(images, dataset.properties, device=device)
    learner = LEARNERS[config.learner]
    demand = training_demand(config)
    if demand is not None:
        demand.check(config.dataset, _sizes(images))
    validation_images = load_images(config, "val", data_root)
    demand = validation_demand(config, _sizes(validation_images))
    demand.check(config.dataset, _sizes(validation_images))
    validation = EpisodeReader(
        validation_images,
        dataset,
        config.validation_images,
        device,
        BaseClasses(images, batches) if _is_centred(config) else None,
    )

    accuracy_of = _validation(config, demand.queries, objective, validation)

    def train_one(seed: int, own: Checkpoints | None) -> Member:
        model = build_model(config, dataset, objective, seed, data_root / FEATURES).to(device)
        validate = partial(accuracy_of, model)
        if config.train == "none":
            parameters = sum(p.numel() for p in model.parameters())
            return Member(untrained(model, validate()), 0, parameters, 1)
        if learner.trains_on == "classes":
            return train_on_classes(
                config, model, images, dataset, batches, validate, seed, progress, own, acceleration
            )
        result = _train_member(
            config, objective, model, labels, batches, validate, seed, progress, own, acceleration
        )
        plan = plan_steps(config, objective)
        passed = plan.updates * plan.units * FORM.unit(config).images
        return Member(result, passed, sum(p.numel() for p in model.parameters()), objective.members)

    training = train_members(config.seed, train_one, checkpoints)
    best = pd.DataFrame(training.history).groupby("member")["val_accuracy"].max()
    training.summary["val_accuracy"] = best.tolist()
    training.summary["training_images"] = len(labels)
    if demand.queries != MOST_VALIDATION_QUERIES:
        training.summary["val_queries"] = demand.queries
    return training


def _train_member(
    config: FewShotRun,
    objective: OnEpisodes,
    model: EpisodicModel,
    labels: np.ndarray,
    batches: ImageBatches,
    validate: Callable[[], float],
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | None,
    acceleration: Acceleration,
) -> TrainingResult:
    sampler = EpisodeSampler(
        labels,
        ways=config.train_ways * objective.way_factor,
        shots=config.train_shots,
        queries=config.train_queries,
        seed=derive_seed(seed, "training episodes"),
        views=objective.num_views if objective.method.pools_views else 1,
    )
    augmented = Augmenter(config, batches, seed)
    device, plan = batches.device, plan_steps(config, objective)
    latest = torch.empty(0, dtype=torch.int64)

    def features_of(index: Tensor, view_of_way: Tensor, numbers: Tensor | None) -> Tensor:
        shape = index.shape
        index = index.flatten().repeat_interleave(objective.copies)
        batch = augmented(index)
        if objective.method.pools_views:
            batch = objective.transform.apply(batch, view_of_way.flatten())
        shown = objective.shown(
            batch, None if numbers is None else numbers.flatten(0, 1), augmented.generator
        )
        features = model.features(shown, network)
        return features.view(*shape, -1, features.shape[-1])

    def loss_of(features: EpisodeFeatures) -> tuple[Tensor, Tensor]:
        return objective.loss(features, model.episode_head, config.label_smoothing, model.view_classifier)

    def batch_loss(done: Fraction) -> tuple[Tensor, Tensor]:
        nonlocal latest
        del done
        episodes = sampler.sample(plan.units).flatten(augmented.generator)
        latest = torch.cat([episodes.support.flatten(), episodes.query.flatten()])
        labels = episodes.support_labels, episodes.query_labels
        numbers = objective.drawn(*labels, augmented.generator)
        of_support, of_query = numbers or (None, None)
        features = EpisodeFeatures(
            features_of(episodes.support, episodes.support_views, of_support),
            to_device(labels[0], device),
            features_of(episodes.query, episodes.query_views, of_query),
            to_device(labels[1], device),
            ways=episodes.classes.shape[1],
            numbers=None
            if numbers is None
            else (to_device(numbers[0], device), to_device(numbers[1], device)),
        )
        if not model.adapts_network:
            return loss_of(features)
        # The graph of one adaptation is as large as that of several ordinary episodes.
        return mean_of_parts([partial(loss_of, one) for one in features.split()], list(model.parameters()))

    start_backbone(model.backbone, batches, np.arange(len(labels)))
    model.to(memory_format=torch.channels_last).train()
    if acceleration != "eager" and model.adapts_network:
        raise UserError(
            f"--compile, --capture: {config.learner} adapts the network in each step; leave them out"
        )
    network = accelerated(model.backbone, acceleration, config.precision, None)
    return train(
        model,
        batch_loss,
        validate,
        config,
        steps=plan.updates,
        choose_best=config.selection == "validation",
        after_step=model.backbone.advance,
        progress=progress,
        checkpoints=checkpoints,
        sources={
            "sampler": sampler,
            **augmented.sources,
            "dropout": GeneratorSource(model.backbone.generator),
        },
        batch=lambda: partial(batch_in_words, seed, latest),
    )


def _validation(
    config: FewShotRun, queries: int, objective: OnEpisodes, reader: EpisodeReader
) -> Callable[[EpisodicModel], float]:
    """Return what reads a model on the validation episodes: accuracy in 0..1 of the row that selects."""
    episodes = fixed_episodes(
        reader.labels,
        ways=validation_ways(config),
        shots=config.val_shots,
        queries=queries,
        count=config.validation_episodes,
        seed=derive_seed("validation"),
    )
    row = objective.method.single_row
    reads_views = objective.rows[row].support > objective.members

    def accuracy(model: EpisodicModel) -> float:
        transform = objective.transform if reads_views else None
        model.eval()
        chunks = reader.chunks(model, transform, config.precision)
        hits = reader.hits([model], [chunks], objective, episodes, [row])[row]
        return float(hits.double().mean()) / queries

    return accuracy


def _chosen_c(
    config: FewShotRun,
    evaluation: FewShotEvaluation,
    model: EpisodicModel,
    objective: OnEpisodes,
    base: BaseClasses | None,
    data_root: Path,
) -> dict[str, float]:
    """Row -> C, see `best_c`, on episodes of validation classes with the shots of the test."""
    if not candidates(config.learner, config.learner_options):
        return {}
    images = load_images(config, "val", data_root)
    demand = validation_demand(config.model_copy(update={"val_shots": evaluation.shots}), _sizes(images))
    demand.check(config.dataset, _sizes(images))
    device = next(model.parameters()).device
    reader = EpisodeReader(images, dataset_named(config.dataset), config.validation_images, device, base)
    return best_c(config, demand, reader, model, objective.transform)


def evaluate(
    config: FewShotRun,
    evaluation: FewShotEvaluation,
    state: dict[str, Tensor],
    data_root: Path,
    device: torch.device,
    progress: Progress = silent,
    shared: Shared | None = None,
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
        shared: with other evaluations of the training.

    Raises:
        UserError: the test classes can't serve the setting.
    """
    dataset = dataset_named(config.dataset)
    objective = build_objective(config, evaluation.transform)
    base = None
    if _is_centred(config):
        training = load_images(config, "train", data_root)
        base = BaseClasses(training, ImageBatches(training, dataset.properties, device=device))
    images = load_test(config, evaluation, data_root)
    test_demand(evaluation).check(tested_on(config, evaluation), _sizes(images))
    crops, seed = evaluation.support_crops, derive_seed("support crops", evaluation.test_seed)
    reader = EpisodeReader(images, dataset, evaluation.images_per_class, device, base, crops, seed)
    setting = {"ways": evaluation.ways, "shots": evaluation.shots, "queries": evaluation.queries}
    closed = closed_episodes(reader.labels, evaluation)
    open_tasks = disjoint_episodes(
        reader.labels, **setting, seed=derive_seed("open test", evaluation.test_seed)
    )
    models = load_members(
        state, lambda: build_model(config, dataset, objective, config.seed, data_root / FEATURES), device
    )
    reads: OnEpisodes | FrozenReader = objective
    views: Views = objective.transform
    chosen: dict[str, float] = {}
    if config.train == "none":
        chosen = _chosen_c(config, evaluation, models[0], objective, base, data_root)
        heads = candidates(config.learner, config.learner_options)
        reads = FrozenReader(config.method, objective.transform, {row: heads[C] for row, C in chosen.items()})
        views = reads.views
    sources = (shared or Shared()).once(
        (tested_on(config, evaluation), evaluation.transform, evaluation.images_per_class),
        lambda: [reader.chunks(model, views, config.precision, progress) for model in models],
    )
    passes = dict(reads.rows)
    rows = list(passes)
    started = time.perf_counter()
    hits = reader.hits(models, sources, reads, closed, rows, progress)
    open_hits = reader.hits(models, sources, reads, open_tasks, rows)
    if _reads_crops(config):
        vote, seed = CropReader(objective), derive_seed("test crops", evaluation.test_seed)
        of_crops = [reader.crop_chunks(m, objective.num_views, seed, config.precision) for m in models]
        hits |= reader.hits(models, of_crops, vote, closed, [vote.row], progress)
        open_hits |= reader.hits(models, of_crops, vote, open_tasks, [vote.row])
        passes[vote.row] = vote.passes
    seconds = time.perf_counter() - started
    samples = {"classes": closed.classes.numpy().astype(np.int16)}
    samples["open_classes"] = open_tasks.classes.numpy().astype(np.int16)
    metrics = {}
    for row, needed in passes.items():
        samples[f"hits/{row}"] = hits[row].numpy().astype(np.uint8)
        samples[f"open_hits/{row}"] = open_hits[row].numpy().astype(np.uint8)
        metrics[row] = {
            **few_shot_metrics(
                samples[f"hits/{row}"],
                samples["classes"],
                evaluation.queries,
                open_hits=samples[f"open_hits/{row}"],
                episodes=evaluation.episodes,
            ),
            "support_passes": needed.support * models[0].support_passes * crops,
            "query_passes": needed.query,
            "head_seconds": seconds,
            **({"C": chosen[row]} if row in chosen else {}),
        }
    return Evaluation(metrics, samples)
