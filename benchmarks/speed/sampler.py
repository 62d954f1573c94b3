"""Episodes per second, from 60,000 images in memory to normalised float batches, against the usual ways.

    python benchmarks/speed/sampler.py
    python benchmarks/speed/sampler.py --batch 8 --rounds 15

5-way 5-shot 15-query episodes of 32 x 32 x 3 images, one thread. The usual way transforms image by image with
torchvision; it runs in a plain loop and, where they can be imported, inside learn2learn and easyfsl. All
candidates run in turn in one process; the table gives the median over rounds, the quartiles, and how many
times as fast ours is. Before anything is timed, our batches are compared with torchvision's functions under
the same random parameters. Ours is bound by memory, the others by the interpreter: what else runs on the
machine changes the ratios.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import random
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms
from torchvision.transforms import functional as F

from sla_bench.augment import Augmentation, ImageBatches, draw_augmentation
from sla_bench.datasets.base import ImageProperties, LabeledImages
from sla_bench.episodes import EpisodeSampler

IMAGES, CLASSES, SIZE = 60_000, 100, 32
WAYS, SHOTS, QUERIES = 5, 5, 15
PLAIN = ImageProperties(SIZE, (0.507, 0.487, 0.441), (0.267, 0.256, 0.276), crop_padding=0, flip=False)
SETTINGS = {
    "none": PLAIN,
    "crop + flip": dataclasses.replace(PLAIN, crop_padding=4, flip=True),
    "crop + jitter + flip": dataclasses.replace(PLAIN, crop_padding=4, flip=True, jitter=0.4),
}
Candidate = Callable[[], int]
"""Makes some episodes and returns how many."""


def random_images() -> LabeledImages:
    """Noise with the shape of CIFAR-100."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    return LabeledImages(pixels, np.arange(IMAGES) % CLASSES, tuple(map(str, range(CLASSES))))


class TorchvisionImages(Dataset):
    """The usual data set: one image at a time through PIL and torchvision's transforms."""

    def __init__(self, data: LabeledImages, properties: ImageProperties) -> None:
        self.data = data
        jitter = properties.jitter
        steps: list[object] = []
        if properties.crop_padding:
            steps.append(transforms.RandomCrop(SIZE, padding=properties.crop_padding))
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


def ours(data: LabeledImages, properties: ImageProperties, batch: int) -> Candidate:
    """Indices and augmentation of `batch` episodes at a time, then the pixels of one after the other."""
    sampler = EpisodeSampler(data.labels, WAYS, SHOTS, QUERIES, seed=0)
    images, generator = ImageBatches(data, properties), torch.Generator().manual_seed(0)

    def run() -> int:
        episodes = sampler.sample(batch).flatten(generator)
        indices = torch.cat([episodes.support, episodes.query], dim=1)
        if properties == PLAIN:
            for index in indices:
                images.plain(index)
        else:
            drawn = draw_augmentation(indices.numel(), properties, generator)
            for index, augmentation in zip(indices, drawn.split(indices.shape[1]), strict=True):
                images.augmented_by(index, augmentation)
        return batch

    return run


def plain_loop(data: LabeledImages, properties: ImageProperties) -> Candidate:
    """What is written in ten minutes: Python's `random` and a list of images."""
    images, draw = TorchvisionImages(data, properties), random.Random(0)
    members = [np.flatnonzero(data.labels == c).tolist() for c in range(CLASSES)]

    def run() -> int:
        chosen = [draw.sample(members[c], SHOTS + QUERIES) for c in draw.sample(range(CLASSES), WAYS)]
        for part in (slice(SHOTS), slice(SHOTS, None)):
            torch.stack([images[i][0] for way in chosen for i in way[part]])
        return 1

    return run


def with_easyfsl(data: LabeledImages, properties: ImageProperties) -> Candidate:
    """The sampler and collate function of easyfsl in a DataLoader."""
    from easyfsl.samplers import TaskSampler

    images = TorchvisionImages(data, properties)
    original = Sampler.__init__
    # Its constructor passes an argument that PyTorch has removed.
    Sampler.__init__ = lambda self, *_, **__: None  # type: ignore[method-assign]
    try:
        sampler = TaskSampler(images, WAYS, SHOTS, QUERIES, n_tasks=1_000_000)
    finally:
        Sampler.__init__ = original  # type: ignore[method-assign]
    loader = DataLoader(images, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
    return _next_of(iter(loader))


def with_learn2learn(data: LabeledImages, properties: ImageProperties) -> Candidate:
    """The task data set of learn2learn with its fused N-ways-K-shots transform."""
    from learn2learn.data import MetaDataset, TaskDataset
    from learn2learn.data import transforms as task_transforms

    images = TorchvisionImages(data, properties)
    labels = data.labels.tolist()
    members = {c: np.flatnonzero(data.labels == c).tolist() for c in range(CLASSES)}
    known = MetaDataset(images, labels_to_indices=members, indices_to_labels=dict(enumerate(labels)))
    steps = [
        task_transforms.FusedNWaysKShots(known, n=WAYS, k=SHOTS + QUERIES),
        task_transforms.LoadData(known),
        task_transforms.RemapLabels(known),
        task_transforms.ConsecutiveLabels(known),
    ]
    tasks = TaskDataset(known, task_transforms=steps)
    return _next_of(iter(tasks.sample, None))


def _next_of(episodes: Iterator[object]) -> Candidate:
    def run() -> int:
        next(episodes)
        return 1

    return run


def by_torchvision(pixels: np.ndarray, how: Augmentation, i: int, properties: ImageProperties) -> Tensor:
    """Image `i` of a batch by torchvision's functions with given parameters: float (3, H, W)."""
    image = F.to_tensor(Image.fromarray(pixels))
    padding = properties.crop_padding
    if padding:
        image = F.crop(F.pad(image, [padding] * 4), int(how.top[i]), int(how.left[i]), SIZE, SIZE)
    if how.factors is not None and how.order is not None:
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
        for operation in how.order[i].tolist():
            image = adjust[operation](image, float(how.factors[i, operation]))
    if how.flip[i]:
        image = F.hflip(image)
    return F.normalize(image, properties.mean, properties.std)


def check(data: LabeledImages, properties: ImageProperties) -> float:
    """Largest difference between our batch of an episode and torchvision's, in units of normalised values."""
    generator = torch.Generator().manual_seed(1)
    index = EpisodeSampler(data.labels, WAYS, SHOTS, QUERIES, seed=1).sample(1).query.flatten()
    how = draw_augmentation(len(index), properties, generator)
    images = ImageBatches(data, properties)
    batch = images.plain(index) if properties == PLAIN else images.augmented_by(index, how)
    theirs = [by_torchvision(data.images[n], how, i, properties) for i, n in enumerate(index.tolist())]
    difference = float((batch - torch.stack(theirs)).abs().max())
    if difference > 1e-4:
        raise SystemExit(f"batches differ by {difference}")
    return difference


def rate(run: Candidate, seconds: float) -> float:
    """Episodes per second over at least `seconds`."""
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds or not done:
        done += run()
    return done / passed


def main() -> None:
    """Print one table per augmentation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=16, help="episodes that we draw at once")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3, help="per candidate and round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = random_images()
    for name, properties in SETTINGS.items():
        difference = check(data, properties)
        candidates = {
            "sla_bench": ours(data, properties, options.batch),
            "loop": plain_loop(data, properties),
        }
        for peer, build in (("learn2learn", with_learn2learn), ("easyfsl", with_easyfsl)):
            try:
                candidates[peer] = build(data, properties)
            except ImportError as error:
                print(f"{peer} left out: {error}")
        for run in candidates.values():
            rate(run, options.seconds)
        rates: dict[str, list[float]] = {candidate: [] for candidate in candidates}
        for _, (candidate, run) in itertools.product(range(options.rounds), candidates.items()):
            rates[candidate].append(rate(run, options.seconds))
        medians = {candidate: float(np.median(r)) for candidate, r in rates.items()}
        print(f"\naugmentation: {name} (largest difference from torchvision {difference:.1e})")
        for candidate, measured in rates.items():
            low, high = np.quantile(measured, (0.25, 0.75))
            times = medians["sla_bench"] / medians[candidate]
            print(
                f"  {candidate:12s} {medians[candidate]:8.1f} episodes/s  "
                f"(quartiles {low:.1f} to {high:.1f})  ours is {times:.1f} x as fast"
            )


if __name__ == "__main__":
    main()
