"""Time of many test episodes: images embedded in every episode, against each image embedded once.

    python benchmarks/speed/evaluation.py                                # Conv-4: a minute
    python benchmarks/speed/evaluation.py --backbone resnet12 --views 1  # some minutes

5-way 5-shot 15-query episodes from random images, prototypical network, one thread. With M > 1 views the
head sees the joint task (5 M ways, all views of supports and queries) and the logits are aggregated. The
usual way is timed on a few episodes, half of them before and half after ours, and its median is multiplied;
the same episodes show whether logits and predictions agree.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from torch import Tensor

from sla_bench.data.base import ImageProperties, LabeledImages
from sla_bench.evaluation.embedding import embed, episode_chunks
from sla_bench.models.backbones.base import Backbone
from sla_bench.registry import BACKBONES, LEARNERS, TRANSFORMS
from sla_bench.views.augment import ImageBatches

WAYS, SHOTS, QUERIES = 5, 5, 15
CLASSES, SIZE = 20, 32
# Test images are only normalised.
PROPERTIES = ImageProperties(SIZE, crop_padding=0, flip=False)


def random_images(count: int) -> LabeledImages:
    """Noise with the shape of FC100's test classes (20 of 600 images)."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    labels = np.arange(count) * CLASSES // count
    names = tuple(f"class {k}" for k in range(CLASSES))
    return LabeledImages(pixels, labels, names)


def draw_episodes(count: int, images: int) -> tuple[Tensor, Tensor]:
    """Indices of supports (T, 25) and queries (T, 75), class by class; classes are equal parts in order."""
    generator = torch.Generator().manual_seed(0)
    per_class = images // CLASSES
    classes = torch.rand(count, CLASSES, generator=generator).topk(WAYS).indices
    keys = torch.rand(count, WAYS, per_class, generator=generator)
    index = keys.topk(SHOTS + QUERIES).indices + per_class * classes[..., None]
    return index[..., :SHOTS].flatten(1), index[..., SHOTS:].flatten(1)


def trained(name: str, data: LabeledImages) -> Backbone:
    """A backbone with random weights whose batch normalisation has seen the images."""
    batches = ImageBatches(data, PROPERTIES)
    backbone = BACKBONES.load(name)(SIZE, generator=torch.Generator().manual_seed(0)).train()
    with torch.no_grad():
        for part in torch.arange(300).split(100):
            backbone(batches.plain(part))
    return backbone.eval()


class Evaluation:
    """One backbone, one number of views, the same episodes for both ways."""

    def __init__(self, backbone: Backbone, data: LabeledImages, views: int) -> None:
        self.backbone = backbone
        self.data, self.batches = data, ImageBatches(data, PROPERTIES)
        self.views = views
        self.transform = TRANSFORMS.load("rotation") if views > 1 else None
        self.head = LEARNERS.load("protonet")()

    def logits(self, support: Tensor, query: Tensor) -> Tensor:
        """Features (t, 25, M, D) and (t, 75, M, D) -> aggregated logits (t, 75, 5)."""
        views = self.views
        classes = torch.arange(WAYS).repeat_interleave(SHOTS)
        labels = (classes[:, None] * views + torch.arange(views)).flatten().expand(len(support), -1)
        joint = self.head(support.flatten(1, 2), labels, query.flatten(1, 2), WAYS * views)
        joint = joint.view(len(support), -1, views, WAYS, views)
        return joint.diagonal(dim1=2, dim2=4).mean(-1)

    @torch.no_grad()
    def naive(self, support_index: Tensor, query_index: Tensor) -> tuple[list[float], Tensor]:
        """Embed the images of each episode in turn: seconds of each episode, logits (t, 75, 5)."""
        seconds, logits = [], []
        for support, query in zip(support_index, query_index, strict=True):
            started = time.perf_counter()
            features = [self._embed_images(index)[None] for index in (support, query)]
            logits.append(self.logits(*features))
            seconds.append(time.perf_counter() - started)
        return seconds, torch.cat(logits)

    def _embed_images(self, index: Tensor) -> Tensor:
        images = self.batches.plain(index)
        rows = self.transform.views(images).flatten(0, 1) if self.transform else images
        return self.backbone(rows.contiguous()).view(len(index), self.views, -1)

    @torch.no_grad()
    def ours(
        self, support_index: Tensor, query_index: Tensor, batch_size: int
    ) -> tuple[float, float, Tensor]:
        """Seconds for all embeddings, seconds for all episodes, logits (T, 75, 5)."""
        started = time.perf_counter()
        embeddings = embed(
            self.backbone, self.batches, torch.arange(len(self.batches)), self.transform, batch_size
        )
        embedded = time.perf_counter()
        chunks = episode_chunks(embeddings, support_index, query_index)
        logits = torch.cat([self.logits(chunk.support, chunk.query) for chunk in chunks])
        return embedded - started, time.perf_counter() - embedded, logits


def compare(name: str, views: int, options: argparse.Namespace) -> None:
    """Time both ways and print one row."""
    data = random_images(options.images)
    support, query = draw_episodes(options.episodes, options.images)
    evaluation = Evaluation(trained(name, data), data, views)
    half = options.naive_episodes // 2
    evaluation.naive(support[:1], query[:1])
    before, first = evaluation.naive(support[:half], query[:half])
    embedding, heads, logits = evaluation.ours(support, query, options.batch_size)
    after, second = evaluation.naive(
        support[half : options.naive_episodes], query[half : options.naive_episodes]
    )
    expected = torch.cat([first, second])
    found = logits[: len(expected)]
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    same = bool((found.argmax(-1) == expected.argmax(-1)).all())
    each = statistics.median(before + after)
    usual, ours = each * options.episodes, embedding + heads
    print(
        f"{name:9} M={views}  usual {1000 * each:8.1f} ms/episode = {usual:8,.0f} s   "
        f"ours {embedding:6.1f} + {heads:5.1f} s   {usual / ours:5.0f} x   logits within {difference:.1e}, "
        f"predictions {'identical' if same else 'DIFFER'}",
        flush=True,
    )
    if not same or difference > 1e-5:
        raise SystemExit(f"{name}, M={views}: the two ways disagree")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backbone", nargs="+", default=["conv4"], choices=list(BACKBONES))
    parser.add_argument("--views", nargs="+", type=int, default=[1, 4], choices=[1, 4])
    parser.add_argument("--images", type=int, default=12_000, help="a multiple of 20, at least 400")
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--naive-episodes", type=int, default=50, help="timed, then scaled to --episodes")
    parser.add_argument("--batch-size", type=int, default=100, help="rows per forward pass of ours")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{options.episodes:,} episodes, {options.images:,} images of {SIZE} px, one thread", flush=True)
    for name in options.backbone:
        for views in options.views:
            compare(name, views, options)


if __name__ == "__main__":
    main()
