"""Episodic models, and reading them on the episodes of a split."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from sla_bench.config import FewShotRun, Precision
from sla_bench.data.base import Dataset, LabeledImages
from sla_bench.evaluation.embedding import (
    EpisodeChunk,
    Views,
    embed,
    embed_crops,
    embed_support_crops,
    episode_chunks,
    image_chunks,
)
from sla_bench.models.backbones.base import Backbone
from sla_bench.objectives.episodes import EpisodeFeatures, Head, OnEpisodes
from sla_bench.registry import LEARNERS, METHODS, TRANSFORMS
from sla_bench.scenarios.base import build_backbone, first_images
from sla_bench.scenarios.fewshot.class_training import BaseClasses
from sla_bench.scenarios.fewshot.form import FORM
from sla_bench.scenarios.form import Plan, plan_of
from sla_bench.seeds import derive_seed, torch_seeded
from sla_bench.training.acceleration import Network
from sla_bench.training.episodes import FlatEpisodes
from sla_bench.training.loop import Progress, autocast, silent
from sla_bench.views.augment import ImageBatches


class EpisodicModel(nn.Module):
    """A backbone with a few-shot head and, for objectives that ask for it, a classifier of the view.

    Args:
        backbone: embeds images.
        head: fits embeddings; or, where it adapts the network, takes the backbone as first argument and
            images for embeddings.
        view_head: embeddings (..., D) -> (..., M).
        adapts_network: the head is one of the second kind.
        precision: of the backbone's arithmetic.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        view_head: nn.Module | None,
        adapts_network: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.view_head = backbone, head, view_head
        self.adapts_network, self.precision = adapts_network, precision

    @property
    def support_passes(self) -> int:
        """How often a support image passes through the network for one fit of the head."""
        return int(self.head.support_passes) if self.adapts_network else 1  # type: ignore[arg-type]

    def features(self, images: Tensor, network: Network | None = None) -> Tensor:
        """What the head takes for images (B, 3, H, W): float32 (B, D), embeddings or pixels.

        Args:
            images: normalised.
            network: embeds them; None: the backbone as it is.
        """
        if self.adapts_network:
            return images.flatten(1)
        return self._embed(images, network)

    @property
    def episode_head(self) -> Head:
        """The head as objectives call it."""
        if not self.adapts_network:
            return self.head
        return self._in_precision(functools.partial(self.head, self.backbone))

    @property
    def view_classifier(self) -> Callable[[Tensor], Tensor] | None:
        """The classifier of the view as objectives call it: features (..., D) -> (..., M)."""
        if self.view_head is None or not self.adapts_network:
            return self.view_head
        return self._classify_views

    def _embed(self, images: Tensor, network: Network | None = None) -> Tensor:
        with autocast(self.precision, images.device):
            features: Tensor = (network or self.backbone)(
                images.contiguous(memory_format=torch.channels_last)
            )
        return features.float()

    def _classify_views(self, pixels: Tensor) -> Tensor:
        """By the network before any adaptation."""
        assert self.view_head is not None
        size = math.isqrt(pixels.shape[-1] // 3)
        features = self._embed(pixels.reshape(-1, 3, size, size))
        logits: Tensor = self.view_head(features)
        return logits.view(*pixels.shape[:-1], -1)

    def _in_precision(self, head: Head) -> Head:
        def run(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
            with autocast(self.precision, support.device):
                return head(support, labels, query, ways)

        return run


def build_objective(config: FewShotRun, transform: str) -> OnEpisodes:
    """Build the config's objective over the views of `transform`.

    Raises:
        UserError: an option of the method has a wrong value.
    """
    method = dataclasses.replace(METHODS.load(config.method), **config.method_options)
    return OnEpisodes(method, TRANSFORMS.load(transform))


def build_model(
    config: FewShotRun, dataset: Dataset, objective: OnEpisodes, seed: int, features: Path | None = None
) -> EpisodicModel:
    """Build a model; its initial weights depend on `seed`, backbone and head, and not on the objective.

    Args:
        config: the run.
        dataset: gives size and normalisation of the images.
        objective: gives the classifier of the view.
        seed: of the initial weights and of dropout.
        features: as `build_backbone`.

    Raises:
        UserError: an option of the backbone or the learner has a wrong value, or the images are too small.
    """
    with torch_seeded(derive_seed(seed, "initial weights")):
        backbone = build_backbone(config, dataset.properties, features)
        head = LEARNERS.load(config.learner)(**config.learner_options)
        # A classifier of the training classes has heads of its own, which the test has no use for.
        on_episodes = LEARNERS[config.learner].trains_on == "episodes"
        view_head = objective.view_head(backbone.num_features) if on_episodes else None
    backbone.stretch(plan_steps(config, objective).stretch)
    backbone.seed_dropout(derive_seed(seed, "dropout"))
    adapts_network = LEARNERS[config.learner].adapts_network
    return EpisodicModel(backbone, head, view_head, adapts_network, config.precision)


def plan_steps(config: FewShotRun, objective: OnEpisodes) -> Plan:
    """The plan of a training; its units are episodes, or for the backbone of a classifier images."""
    unit, units = FORM.unit(config).images, FORM.units(config)
    return plan_of(config.batch_images, unit, units, config.steps, objective.step_factor)


Chunks = Callable[[Tensor, Tensor], Iterator[EpisodeChunk]]
"""`(support index (T, S), query index (T, Q)) -> features of these episodes`, in parts."""


class Reads(Protocol):
    """Reads predictions off the features of episodes, as an objective does."""

    def read(
        self, features: EpisodeFeatures, head: Head, rows: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return row -> logits (E, Q, W) for `rows` at least; None: for all."""


class EpisodeReader:
    """A set of images; reads models on episodes of it.

    Each image is embedded once per view, unless the head adapts the network to each episode.

    Args:
        images: the images.
        dataset: gives their normalisation.
        per_class: only the first so many images of each class; None means all.
        device: where to compute.
        base: the mean embedding of these, for each view, is subtracted from all embeddings.
        support_crops: K, crops and flips of each support image; 1: the image as it is.
        seed: of these crops.
    """

    def __init__(
        self,
        images: LabeledImages,
        dataset: Dataset,
        per_class: int | None,
        device: torch.device,
        base: BaseClasses | None = None,
        support_crops: int = 1,
        seed: int = 0,
    ) -> None:
        self.support_crops, self.seed = support_crops, seed
        self.index = torch.from_numpy(first_images(images.labels, per_class))
        self.labels = torch.from_numpy(images.labels)[self.index]
        self.batches = ImageBatches(images, dataset.properties, device=device)
        self.device = device
        self.base = base

    def embeddings(
        self,
        model: EpisodicModel,
        transform: Views | None,
        precision: Precision,
        progress: Progress = silent,
    ) -> Tensor:
        """Embed every image in all views of the transformation, or (None) as it is: (N, M, D)."""
        embeddings = embed(
            model.backbone,
            self.batches,
            self.index,
            transform,
            precision=precision,
            device=self.device,
            progress=lambda done, total: progress("embedding", done, total),
        )
        if self.base is not None:
            embeddings -= self.base.mean_embeddings(model.backbone, transform, precision)
        return embeddings

    def chunks(
        self,
        model: EpisodicModel,
        transform: Views | None,
        precision: Precision,
        progress: Progress = silent,
    ) -> Chunks:
        """Return the source of the episodes' features, those of all views or (None) of the image alone."""
        if model.adapts_network:
            return partial(image_chunks, self.batches, self.index, transform)
        embeddings = self.embeddings(model, transform, precision, progress)
        supports = self._support_embeddings(model, transform, self.support_crops, precision)
        return partial(episode_chunks, embeddings, supports=supports)

    def crop_chunks(self, model: EpisodicModel, copies: int, seed: int, precision: Precision) -> Chunks:
        """Return the source of the episodes' features of each image as it is and of crops in place of views.

        Args:
            model: its head does not adapt the network.
            copies: M, the image as it is among them.
            seed: of the crops.
            precision: of the backbone.
        """
        embeddings = embed_crops(
            model.backbone, self.batches, self.index, copies, seed, precision, self.device
        )
        if self.base is not None:
            embeddings -= self.base.mean_embeddings(model.backbone, None, precision)
        supports = self._support_embeddings(model, None, self.support_crops * copies, precision)
        if supports is not None:
            supports = supports.view(len(embeddings), self.support_crops, *embeddings.shape[1:])
        return partial(episode_chunks, embeddings, supports=supports)

    def _support_embeddings(
        self, model: EpisodicModel, transform: Views | None, crops: int, precision: Precision
    ) -> Tensor | None:
        """Embed every image in views of crops: (N, crops, M, D); None where supports are as they are."""
        if self.support_crops == 1:
            return None
        parts = self.batches, self.index, transform, crops, self.seed, precision, self.device
        embeddings = embed_support_crops(model.backbone, *parts)
        if self.base is not None:
            embeddings -= self.base.mean_embeddings(model.backbone, transform, precision)
        return embeddings

    def hits(
        self,
        models: list[EpisodicModel],
        sources: list[Chunks],
        objective: Reads,
        episodes: FlatEpisodes,
        rows: list[str],
        progress: Progress = silent,
    ) -> dict[str, Tensor]:
        """Count the correct queries of each way: row -> int64 (T, W); logits are averaged over the models."""
        ways = episodes.classes.shape[1]
        counted = {row: torch.zeros(episodes.classes.shape, dtype=torch.int64) for row in rows}
        parts = zip(*(chunks(episodes.support, episodes.query) for chunks in sources), strict=True)
        with torch.no_grad():
            for chunks in parts:
                which = chunks[0].episodes
                labels = episodes.query_labels[which].to(self.device)
                of_supports = episodes.support_labels[which].repeat_interleave(self.support_crops, dim=1)
                read = [
                    objective.read(
                        EpisodeFeatures(
                            chunk.support,
                            of_supports.to(self.device),
                            chunk.query,
                            labels,
                            ways,
                        ),
                        model.episode_head,
                        rows,
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
