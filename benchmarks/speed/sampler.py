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
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.timing import Candidate, interleaved, quartiles
from benchmarks.speed.usual_ways import (
    Shape,
    TorchvisionImages,
    by_torchvision,
    easyfsl_loader,
    learn2learn_tasks,
    loop_episodes,
)
from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.training.episodes import EpisodeSampler
from sla_bench.views.augment import ImageBatches, draw_augmentation

IMAGES, CLASSES, SIZE = 60_000, 100, 32
SHAPE = Shape(ways=5, shots=5, queries=15)
PLAIN = ImageProperties(SIZE, (0.507, 0.487, 0.441), (0.267, 0.256, 0.276), crop_padding=0, flip=False)
SETTINGS = {
    "none": PLAIN,
    "crop + flip": dataclasses.replace(PLAIN, crop_padding=4, flip=True),
    "crop + jitter + flip": dataclasses.replace(PLAIN, crop_padding=4, flip=True, jitter=0.4),
}


def random_images() -> LabeledImages:
    """Noise with the shape of CIFAR-100."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    return LabeledImages(pixels, np.arange(IMAGES) % CLASSES, tuple(map(str, range(CLASSES))))


def ours(data: LabeledImages, properties: ImageProperties, batch: int) -> Candidate:
    """Indices and augmentation of `batch` episodes at a time, then the pixels of one after the other."""
    sampler = EpisodeSampler(data.labels, *SHAPE, seed=0)
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


def next_of(episodes: Iterator[object]) -> Candidate:
    """One episode after the other."""

    def run() -> int:
        next(episodes)
        return 1

    return run


LOOP = "loop over images"
PEERS: dict[str, Callable[[TorchvisionImages], Candidate]] = {
    LOOP: lambda images: next_of(loop_episodes(images, SHAPE)),
    "learn2learn": lambda images: next_of(learn2learn_tasks(images, SHAPE)),
    "easyfsl": lambda images: next_of(iter(easyfsl_loader(images, SHAPE))),
}


def check(data: LabeledImages, properties: ImageProperties) -> float:
    """Largest difference between our batch of an episode and torchvision's, in units of normalised values."""
    generator = torch.Generator().manual_seed(1)
    index = EpisodeSampler(data.labels, *SHAPE, seed=1).sample(1).query.flatten()
    how = draw_augmentation(len(index), properties, generator)
    images = ImageBatches(data, properties)
    batch = images.plain(index) if properties == PLAIN else images.augmented_by(index, how)
    theirs = [by_torchvision(data.images[n], how, i, properties) for i, n in enumerate(index.tolist())]
    difference = float((batch - torch.stack(theirs)).abs().max())
    if difference > 1e-4:
        raise SystemExit(f"batches differ by {difference}")
    return difference


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
        candidates = {"sla_bench": ours(data, properties, options.batch)}
        for peer, build in PEERS.items():
            try:
                candidates[peer] = build(TorchvisionImages(data, properties))
            except ImportError as error:
                print(f"{peer} left out: {error}")
        times = interleaved(candidates, options.rounds, options.seconds)
        fastest = float(np.median(times["sla_bench"]))
        print(f"\naugmentation: {name} (largest difference from torchvision {difference:.1e})")
        for candidate, milliseconds in times.items():
            low, median, high = quartiles(milliseconds)
            print(
                f"  {candidate:16s} {1e3 / median:8.1f} episodes/s  "
                f"(quartiles {1e3 / high:.1f} to {1e3 / low:.1f})  ours is {median / fastest:.1f} x as fast"
            )


if __name__ == "__main__":
    main()
