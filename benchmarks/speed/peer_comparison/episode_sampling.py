"""Training episodes, from uint8 images in memory to normalised float batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed import sampler
from benchmarks.speed.peer_comparison.topics import OURS, Comparison, Implementation, Topic, checked
from benchmarks.speed.usual_ways import (
    Shape,
    TorchvisionImages,
    easyfsl_loader,
    learn2learn_tasks,
    loop_episodes,
)
from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.views.augment import ImageBatches

TOLERANCE = 1e-4
DRAWN_AT_ONCE = 16


def topic(missing: Collection[str], data: LabeledImages | None = None) -> Topic:
    """All augmentations; libraries in `missing` are left out; `data` instead of 60,000 images of noise."""
    data = sampler.random_images() if data is None else data
    shape = sampler.SHAPE
    return Topic(
        "episode sampling",
        "episode",
        f"{shape.ways}-way {shape.shots}-shot {shape.queries}-query episodes from {len(data):,} images of "
        f"{sampler.SIZE} px in memory to normalised float batches; ours draws {DRAWN_AT_ONCE} at a time, the "
        f"libraries' loaders work in the process itself. {sampler.LOOP!r} is what MetaOptNet's loader does. "
        "Difference: largest of normalised pixels; of ours from torchvision's functions under the same "
        "random parameters, of the others' batches, without augmentation, from ours of the same images.",
        [comparison(name, data, properties, missing) for name, properties in sampler.SETTINGS.items()],
        {"qpth": "solves what heads need, see there"},
    )


def comparison(
    setting: str, data: LabeledImages, properties: ImageProperties, missing: Collection[str]
) -> Comparison:
    """Ours and the others under one augmentation."""
    implementations = {
        OURS: Implementation(
            sampler.ours(data, properties, DRAWN_AT_ONCE), "sla-bench", sampler.check(data, properties)
        )
    }
    for name, package in ((sampler.LOOP, "torchvision"), ("learn2learn",) * 2, ("easyfsl",) * 2):
        if name not in missing:
            difference = checked(f"{name}: an episode", largest_difference(data, READERS[name]), TOLERANCE)
            run = sampler.PEERS[name](TorchvisionImages(data, properties))
            implementations[name] = Implementation(run, package, difference)
    return Comparison(setting, implementations)


class Read(NamedTuple):
    """An episode as a library gives it: images by way, (W, K+Q, 3, H, W), and labels by way, (W, K+Q)."""

    images: Tensor
    labels: Tensor


Reader = Callable[[TorchvisionImages, Shape], Iterator[Read]]


class RememberingImages(TorchvisionImages):
    """Notes the position of each image that is asked for."""

    def __init__(self, data: LabeledImages, properties: ImageProperties) -> None:
        super().__init__(data, properties)
        self.asked: list[int] = []

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.asked.append(index)
        return super().__getitem__(index)


def largest_difference(data: LabeledImages, read: Reader) -> float:
    """Of a library's first episode without augmentation from our batch of the same images.

    Raises:
        SystemExit: its images are not W different classes with K + Q different images each, labelled so.
    """
    shape = sampler.SHAPE
    images = RememberingImages(data, sampler.PLAIN)
    episode = next(read(images, shape))
    per_way = shape.shots + shape.queries
    # The loop takes all supports first, the others take way after way.
    asked = np.array(images.asked)
    by_label = {label: asked[data.labels[asked] == label] for label in dict.fromkeys(data.labels[asked])}
    sizes = [len(set(own.tolist())) for own in by_label.values()]
    if sizes != [per_way] * shape.ways or len(asked) != per_way * shape.ways:
        raise SystemExit(f"an episode has {sizes} different images per class")
    if sorted(map(set, episode.labels.tolist()), key=min) != [{way} for way in range(shape.ways)]:
        raise SystemExit(f"an episode's labels are {episode.labels.tolist()}")
    index = torch.from_numpy(np.concatenate(list(by_label.values())))
    expected = ImageBatches(data, sampler.PLAIN).plain(index)
    return float((episode.images.flatten(0, 1) - expected).abs().max())


def _from_loop(images: TorchvisionImages, shape: Shape) -> Iterator[Read]:
    for support, query in loop_episodes(images, shape):
        parts = [part.unflatten(0, (shape.ways, -1)) for part in (support, query)]
        labels = torch.arange(shape.ways)[:, None].expand(-1, shape.shots + shape.queries)
        yield Read(torch.cat(parts, 1), labels)


def _from_learn2learn(images: TorchvisionImages, shape: Shape) -> Iterator[Read]:
    for pixels, labels in learn2learn_tasks(images, shape):
        yield Read(*(part.unflatten(0, (shape.ways, -1)) for part in (pixels, labels)))


def _from_easyfsl(images: TorchvisionImages, shape: Shape) -> Iterator[Read]:
    for episode in easyfsl_loader(images, shape):
        support, support_labels, query, query_labels, _ = episode
        pixels, labels = (
            torch.cat([part.unflatten(0, (shape.ways, -1)) for part in parts], 1)
            for parts in ((support, query), (support_labels, query_labels))
        )
        yield Read(pixels, labels)


READERS: dict[str, Reader] = {
    sampler.LOOP: _from_loop,
    "learn2learn": _from_learn2learn,
    "easyfsl": _from_easyfsl,
}
