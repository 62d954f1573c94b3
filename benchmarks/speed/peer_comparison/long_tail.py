"""Batches of a long-tailed training set, from uint8 to normalised floats."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.speed.peer_comparison.topics import OURS, Comparison, Implementation, Topic, checked
from benchmarks.speed.training_step import PROPERTIES
from benchmarks.speed.usual_ways import TorchvisionImages, by_torchvision
from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.training.class_sampling import ClassSampler
from sla_bench.training.long_tail import long_tailed_indices
from sla_bench.views.augment import ImageBatches, draw_augmentation

CLASSES, LARGEST, RATIO, BATCH = 10, 5_000, 100, 128
TOLERANCE = 1e-4
PEER = "torchvision DataLoader"


def topic(largest: int = LARGEST) -> Topic:
    """The pipeline of LDAM-DRW and ours; `largest`: images of the largest class."""
    data = random_images(largest)
    chosen = long_tailed_indices(data.labels, ratio=RATIO)
    theirs = usual_subset(data)
    difference = max(subset_difference(data, chosen, theirs), batch_difference(data, chosen))
    checked(PEER, difference, TOLERANCE)
    implementations = {
        OURS: Implementation(_Ours(data, chosen), "sla-bench", 0.0),
        PEER: Implementation(_Usual(theirs), "torchvision", difference),
    }
    return Topic(
        "long-tail data",
        "batch",
        f"Batches of {BATCH} images of {PROPERTIES.size} px, {CLASSES} classes of {largest:,} images and "
        f"fewer, ratio {RATIO}; crop, flip, normalisation; a run is an epoch. As in LDAM-DRW: a data set of "
        "torchvision, PIL, and a shuffling DataLoader, which works in the process itself on one thread and "
        "in as many workers as there are threads otherwise. Difference: largest of normalised pixels, of the "
        "subset as it is and of a batch under the same random parameters; the chosen images are identical.",
        [Comparison(f"ratio {RATIO}", implementations)],
        {
            "learn2learn": "has no long-tailed data",
            "easyfsl": "has no long-tailed data",
            "qpth": "solves what heads need, see there",
        },
    )


def random_images(per_class: int) -> LabeledImages:
    """Noise with the shape of CIFAR-10."""
    shape = (CLASSES * per_class, PROPERTIES.size, PROPERTIES.size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return LabeledImages(pixels, np.arange(len(pixels)) % CLASSES, tuple(map(str, range(CLASSES))))


def usual_subset(data: LabeledImages) -> LabeledImages:
    """A copy of the long-tailed subset, chosen by the rule of LDAM-DRW with `rand_number` 0."""
    # Its code seeds numpy's global generator; a generator of the same kind gives the same order.
    generator, chosen = np.random.RandomState(0), []
    largest = len(data) // CLASSES
    for label in range(CLASSES):
        members = np.flatnonzero(data.labels == label)
        generator.shuffle(members)
        chosen.append(members[: int(largest * (1 / RATIO) ** (label / (CLASSES - 1.0)))])
    index = np.concatenate(chosen)
    return LabeledImages(data.images[index], data.labels[index], data.class_names)


def subset_difference(data: LabeledImages, chosen: np.ndarray, theirs: LabeledImages) -> float:
    """Largest difference of our images, without augmentation, from those of a DataLoader in the same order.

    Raises:
        SystemExit: another number of images, or another label.
    """
    if len(chosen) != len(theirs) or not np.array_equal(data.labels[chosen], theirs.labels):
        raise SystemExit("the long-tailed subsets have different classes")
    plain = ImageProperties(PROPERTIES.size, PROPERTIES.mean, PROPERTIES.std, crop_padding=0, flip=False)
    ours, largest, done = ImageBatches(data, plain), 0.0, 0
    for images, _ in DataLoader(TorchvisionImages(theirs, plain), BATCH):
        index = torch.from_numpy(chosen[done : done + len(images)])
        largest = max(largest, float((ours.plain(index) - images).abs().max()))
        done += len(images)
    return largest


def batch_difference(data: LabeledImages, chosen: np.ndarray) -> float:
    """Largest difference of an augmented batch from torchvision's functions with the same parameters."""
    index = torch.from_numpy(chosen[:BATCH])
    how = draw_augmentation(len(index), PROPERTIES, torch.Generator().manual_seed(0))
    theirs = [by_torchvision(data.images[n], how, i, PROPERTIES) for i, n in enumerate(index.tolist())]
    return float((ImageBatches(data, PROPERTIES).augmented_by(index, how) - torch.stack(theirs)).abs().max())


class _Ours:
    """An epoch of our batches."""

    def __init__(self, data: LabeledImages, chosen: np.ndarray) -> None:
        self.positions = torch.from_numpy(chosen)
        self.images = ImageBatches(data, PROPERTIES)
        self.sampler = ClassSampler(data.labels[chosen], "uniform", BATCH)
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self) -> int:
        batches = -(-len(self.positions) // BATCH)
        for _ in range(batches):
            index = self.positions[self.sampler.next()]
            _batch: tuple[Tensor, Tensor] = (
                self.images.augmented(index, self.generator),
                self.images.labels[index],
            )
        return batches


class _Usual:
    """An epoch of a DataLoader; as in LDAM-DRW its workers are started anew for each."""

    def __init__(self, data: LabeledImages) -> None:
        self.images = TorchvisionImages(data, PROPERTIES)

    def __call__(self) -> int:
        threads = torch.get_num_threads()
        workers = 0 if threads == 1 else threads
        loader = DataLoader(self.images, BATCH, shuffle=True, num_workers=workers)
        return sum(1 for _ in loader)
