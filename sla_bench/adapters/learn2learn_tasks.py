"""Episodes as tasks of learn2learn, and its tasks as episodes."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sla_bench.adapters.torch_datasets import TorchImages
from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.errors import UserError
from sla_bench.models.peers import learn2learn
from sla_bench.training.episodes import Episodes, FlatEpisodes

Adaptation = Literal["first", "even"]
"""Which images of a class are its support: the first K of a task ("first": `partition_task` and the example
of prototypical networks in learn2learn), or those at even places ("even": its examples of MAML; as many
queries as supports)."""

_READS_ONLY = "learn2learn.data.transforms"


class _LoadAs:
    """Reads an image and gives it the label of its way."""

    def __init__(self, dataset: Any, way: int) -> None:
        self.dataset, self.way = dataset, way

    def __call__(self, index: int) -> tuple[Tensor, int]:
        return self.dataset[index][0], self.way


class TasksetEpisodes:
    """Tasks of a learn2learn `Taskset` as episodes, to be used in place of an `EpisodeSampler`.

    Positions are those of `from_torch_dataset(taskset)`, classes its labels. A `Taskset` without end draws a
    new task each time, from Python's global `random`; of a finite one the tasks come in their order, after
    the last the first again.

    Args:
        taskset: its transforms choose images and load them, as those of `learn2learn.data.transforms` do.
        shots: K, support images of each class.
        adaptation: which of a task's images these are.

    Raises:
        UserError: `shots` is not positive.
    """

    def __init__(self, taskset: Any, shots: int, adaptation: Adaptation = "first") -> None:
        if shots < 1:
            raise UserError(f"shots must be at least 1, got {shots}")
        self.taskset, self.shots, self.adaptation = taskset, shots, adaptation
        kept = taskset.dataset.indices_to_labels
        _, labels = np.unique([kept[i] for i in range(len(taskset.dataset))], return_inverse=True)
        self._labels = labels.reshape(-1).astype(np.int64)
        self._next = 0

    def sample(self, episodes: int) -> Episodes:
        """The next E tasks, their classes in ascending order.

        Raises:
            UserError: E is not positive; a task changes its images, repeats one, or has not the same number,
                more than K, of each class; or tasks differ in ways or queries.
        """
        if episodes < 1:
            raise UserError(f"episodes must be at least 1, got {episodes}")
        parts = [self._episode(self._description()) for _ in range(episodes)]
        shapes = {(len(classes), query.shape[1]) for classes, _, query in parts}
        if len(shapes) > 1:
            raise UserError("the tasks must agree in their numbers of ways and queries")
        classes, support, query = (torch.from_numpy(np.stack(kind)) for kind in zip(*parts, strict=True))
        return Episodes(classes, torch.zeros_like(classes), support, query)

    def _description(self) -> list[Any]:
        taskset = self.taskset
        if taskset.num_tasks == -1:
            return list(taskset.sample_task_description())
        number = self._next % taskset.num_tasks
        self._next += 1
        if number not in taskset.sampled_descriptions:
            taskset.sampled_descriptions[number] = taskset.sample_task_description()
        return list(taskset.sampled_descriptions[number])

    def _episode(self, description: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        _refuse_changes(description)
        index = np.array([data.index for data in description], np.int64)
        if len(np.unique(index)) < len(index):
            raise UserError(
                "a task shows an image twice (KShots with replacement?), so its queries are not a valid test"
            )
        classes, counts = np.unique(self._labels[index], return_counts=True)
        if counts.min() != counts.max() or counts.min() <= self.shots:
            raise UserError(
                f"a task must have the same number of images of each class, more than {self.shots} shots; "
                f"found {counts.min()} to {counts.max()}"
            )
        by_way = index[self._labels[index].argsort(kind="stable")].reshape(len(classes), -1)
        support, query = _divided(by_way, self.shots, self.adaptation)
        return classes, support, query


def to_metadataset(images: LabeledImages, properties: ImageProperties | None = None) -> Any:
    """Our images as a `learn2learn.data.MetaDataset`, for any of its task transforms.

    Args:
        images: the images.
        properties: normalisation, as in a run; None: pixels are 0..1.

    Raises:
        UserError: learn2learn is not installed, or the images are not as large as the properties say.
    """
    members = {label: np.flatnonzero(images.labels == label).tolist() for label in range(images.num_classes)}
    return learn2learn().data.MetaDataset(TorchImages(images, properties), labels_to_indices=members)


def to_taskset(
    images: LabeledImages,
    episodes: Episodes | FlatEpisodes,
    properties: ImageProperties | None = None,
    adaptation: Adaptation = "first",
) -> Any:
    """Fixed episodes as a `learn2learn.data.Taskset`: task i is episode i.

    A task is (float32 (W*(K+Q), 3, H, W), int64 (W*(K+Q),)), class after class, with the episode's labels
    0..W-1. Nothing is random. Descriptions of all tasks are kept, some 50 bytes for each of their images.

    Args:
        images: the images.
        episodes: T episodes on them.
        properties: as in `to_metadataset`.
        adaptation: which places the K support images of a class take.

    Raises:
        UserError: as `to_metadataset`; the episodes have views; or "even" places for K supports and another
            number of queries.
    """
    data, dataset = learn2learn().data, to_metadataset(images, properties)
    joined = _joined(*_by_way(episodes), adaptation)
    tasks, ways = joined.shape[:2]
    readers = [[_LoadAs(dataset, way)] for way in range(ways)]
    taskset = data.Taskset(dataset, num_tasks=tasks)
    for number, positions in enumerate(joined.tolist()):
        described = [
            (data.DataDescription(position), reader)
            for own, reader in zip(positions, readers, strict=True)
            for position in own
        ]
        for description, reader in described:
            description.transforms = reader
        taskset.sampled_descriptions[number] = [description for description, _ in described]
    return taskset


def _refuse_changes(description: list[Any]) -> None:
    for transform in {id(t): t for data in description for t in data.transforms}.values():
        inner = transform.func if isinstance(transform, functools.partial) else transform
        if not isinstance(inner, _LoadAs) and getattr(inner, "__module__", "") != _READS_ONLY:
            name = getattr(inner, "__qualname__", type(inner).__name__)
            raise UserError(
                f"the task transform {name} may change images, and an episode only names them: use those of "
                f"{_READS_ONLY}"
            )


def _by_way(episodes: Episodes | FlatEpisodes) -> tuple[np.ndarray, np.ndarray]:
    """Support (T, W, K) and query (T, W, Q), the ways in the order of their labels."""
    if isinstance(episodes, Episodes):
        views, parts = [episodes.views], (episodes.support, episodes.query)
    else:
        views, ways = [episodes.support_views, episodes.query_views], episodes.classes.shape[1]
        labels = (episodes.support_labels, episodes.query_labels)
        support, query = (
            index.gather(1, own.argsort(dim=1, stable=True)).unflatten(1, (ways, -1))
            for index, own in zip((episodes.support, episodes.query), labels, strict=True)
        )
        parts = (support, query)
    if any(bool(view.any()) for view in views):
        raise UserError(
            "tasks of learn2learn show images as they are: episodes with views cannot become them"
        )
    return parts[0].numpy(), parts[1].numpy()


def _joined(support: np.ndarray, query: np.ndarray, adaptation: Adaptation) -> np.ndarray:
    """(..., K) and (..., Q) -> (..., K + Q)."""
    if adaptation == "first":
        return np.concatenate((support, query), -1)
    _check_even(support.shape[-1], query.shape[-1])
    return np.stack((support, query), -1).reshape(*support.shape[:-1], -1)


def _divided(images: np.ndarray, shots: int, adaptation: Adaptation) -> tuple[np.ndarray, np.ndarray]:
    """(..., K + Q) -> (..., K) and (..., Q)."""
    if adaptation == "first":
        return images[..., :shots], images[..., shots:]
    _check_even(shots, images.shape[-1] - shots)
    return images[..., ::2], images[..., 1::2]


def _check_even(shots: int, queries: int) -> None:
    if shots != queries:
        raise UserError(
            f"support at even places needs as many queries as shots, got {shots} shots and {queries} queries"
        )
