"""The usual data path: PIL and torchvision, one image at a time."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms
from torchvision.transforms import functional as F

from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.views.augment import Augmentation


class Shape(NamedTuple):
    """Ways, shots, and queries of each way."""

    ways: int
    shots: int
    queries: int


class TorchvisionImages(Dataset):
    """The usual data set: one image at a time through PIL and torchvision's transforms."""

    def __init__(self, data: LabeledImages, properties: ImageProperties) -> None:
        self.data = data
        jitter = properties.jitter
        steps: list[object] = []
        if properties.crop_padding:
            steps.append(transforms.RandomCrop(properties.size, padding=properties.crop_padding))
        if jitter:
            steps.append(transforms.ColorJitter(jitter, jitter, jitter))
        if properties.flip:
            steps.append(transforms.RandomHorizontalFlip())
        steps += [transforms.ToTensor(), transforms.Normalize(properties.mean, properties.std)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data.images[index])), int(self.data.labels[index])

    def get_labels(self) -> list[int]:
        """Class of each image, as easyfsl asks for it."""
        return self.data.labels.tolist()


def members_of(data: LabeledImages) -> dict[int, list[int]]:
    """Positions of the images of each class."""
    return {c: np.flatnonzero(data.labels == c).tolist() for c in range(data.num_classes)}


def loop_episodes(images: TorchvisionImages, shape: Shape) -> Iterator[list[Tensor]]:
    """What is written in ten minutes, and what MetaOptNet's loader does: Python's `random`, a list of images.

    Yields:
        Supports and queries, float (W*K, 3, H, W) and (W*Q, 3, H, W), class after class.
    """
    draw, members = random.Random(0), members_of(images.data)
    while True:
        chosen = [
            draw.sample(members[c], shape.shots + shape.queries)
            for c in draw.sample(sorted(members), shape.ways)
        ]
        yield [
            torch.stack([images[i][0] for way in chosen for i in way[part]])
            for part in (slice(shape.shots), slice(shape.shots, None))
        ]


def easyfsl_loader(
    images: TorchvisionImages, shape: Shape, episodes: Sequence[Sequence[int]] | None = None
) -> DataLoader:
    """The sampler and the collate function of easyfsl in a DataLoader.

    Args:
        images: the data set.
        shape: of an episode.
        episodes: positions of the images of each, class after class, supports first; None: its own sampler's.
    """
    from easyfsl.samplers import TaskSampler

    original = Sampler.__init__
    # Its constructor passes an argument that PyTorch has removed.
    Sampler.__init__ = lambda self, *_, **__: None  # type: ignore[method-assign]
    try:
        sampler = TaskSampler(images, *shape, n_tasks=1_000_000)
    finally:
        Sampler.__init__ = original  # type: ignore[method-assign]
    return DataLoader(images, batch_sampler=episodes or sampler, collate_fn=sampler.episodic_collate_fn)


def learn2learn_tasks(
    images: TorchvisionImages, shape: Shape, episodes: Sequence[Sequence[int]] | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The task data set of learn2learn with its fused N-ways-K-shots transform.

    Args:
        images: the data set.
        shape: of an episode.
        episodes: positions of the images of each, class after class; None: drawn by learn2learn.

    Returns:
        Images float (W*(K+Q), 3, H, W), class after class, and their labels; the given episodes for ever.
    """
    with contextlib.redirect_stderr(io.StringIO()):
        from learn2learn.data import DataDescription, MetaDataset, Taskset
        from learn2learn.data import transforms as task_transforms

    labels = dict(enumerate(images.get_labels()))
    known = MetaDataset(images, labels_to_indices=members_of(images.data), indices_to_labels=labels)
    steps = [
        task_transforms.FusedNWaysKShots(known, n=shape.ways, k=shape.shots + shape.queries),
        task_transforms.LoadData(known),
        task_transforms.RemapLabels(known),
        task_transforms.ConsecutiveLabels(known),
    ]
    if episodes is not None:
        # Those are sorted by way, so that there is nothing to sort by class.
        steps = [_Given(episodes, DataDescription), *steps[1:3]]
    return iter(Taskset(known, task_transforms=steps).sample, None)


class _Given:
    """A task transform of learn2learn that takes one given episode after the other."""

    def __init__(self, episodes: Sequence[Sequence[int]], description: Any) -> None:
        self.episodes, self.description, self.next = episodes, description, 0

    def __call__(self, _: object) -> list[Any]:
        chosen = self.episodes[self.next % len(self.episodes)]
        self.next += 1
        return [self.description(position) for position in chosen]


def by_torchvision(pixels: np.ndarray, how: Augmentation, i: int, properties: ImageProperties) -> Tensor:
    """Image `i` of a batch by torchvision's functions with given parameters: float (3, H, W)."""
    image = F.to_tensor(Image.fromarray(pixels))
    padding, size = properties.crop_padding, properties.size
    if padding:
        image = F.crop(F.pad(image, [padding] * 4), int(how.top[i]), int(how.left[i]), size, size)
    if how.factors is not None and how.order is not None:
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
        for operation in how.order[i].tolist():
            image = adjust[operation](image, float(how.factors[i, operation]))
    if how.flip[i]:
        image = F.hflip(image)
    return F.normalize(image, properties.mean, properties.std)
