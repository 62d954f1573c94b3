"""The test of a few-shot run: its images and its episodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from sla_bench.config import FewShotEvaluation, FewShotRun
from sla_bench.data.base import LabeledImages
from sla_bench.data.images import resized
from sla_bench.data.named import dataset_named
from sla_bench.seeds import derive_seed
from sla_bench.training.episodes import FlatEpisodes, fixed_episodes


def tested_on(config: FewShotRun, evaluation: FewShotEvaluation) -> str:
    """The name of the data set of the test."""
    return evaluation.test_dataset or config.dataset


def load_test(config: FewShotRun, evaluation: FewShotEvaluation, data_root: Path) -> LabeledImages:
    """Read the test images, of another data set than the training's at the size of the training's images.

    Args:
        config: the training.
        evaluation: the test.
        data_root: where the data lie.

    Raises:
        UserError: the data are missing or damaged.
    """
    dataset = dataset_named(tested_on(config, evaluation))
    images = dataset.load("test", "classes", data_root, split_seed=config.seed)
    if evaluation.test_dataset is None:
        return images
    size = dataset_named(config.dataset).properties.size
    if images.images.shape[1:3] == (size, size):
        return images
    fit = dataset.properties.fit
    pixels = np.stack([np.asarray(resized(Image.fromarray(image), size, fit)) for image in images.images])
    return replace(images, images=pixels)


def closed_episodes(labels: Tensor, evaluation: FewShotEvaluation) -> FlatEpisodes:
    """The episodes whose hits a record keeps; the accuracy is that of the first `episodes` of them.

    Args:
        labels: int64 (N,), class of each image that may be drawn.
        evaluation: the test.

    Raises:
        UserError: too few classes or images.
    """
    return fixed_episodes(
        labels,
        ways=evaluation.ways,
        shots=evaluation.shots,
        queries=evaluation.queries,
        count=max(evaluation.episodes, evaluation.jackknife_episodes),
        seed=derive_seed("test", evaluation.test_seed),
    )
