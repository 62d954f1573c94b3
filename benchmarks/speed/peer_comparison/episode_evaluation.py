"""Many test episodes: other evaluation code, which embeds per episode, and ours."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.speed import evaluation
from benchmarks.speed.evaluation import QUERIES, SHOTS, SIZE, WAYS, Evaluation
from benchmarks.speed.peer_comparison.topics import OURS, Comparison, Implementation, Topic, checked
from benchmarks.speed.sampler import next_of
from benchmarks.speed.timing import Candidate
from benchmarks.speed.usual_ways import Shape, TorchvisionImages, easyfsl_loader, learn2learn_tasks

# Distances of the libraries are worked out in float32 in another way.
TOLERANCE, LIBRARY_TOLERANCE = 1e-5, 1e-4
CHECKED = 5
PER_EPISODE = "embed per episode"
SHAPE = Shape(WAYS, SHOTS, QUERIES)


class Size(NamedTuple):
    """How many images and episodes, for a backbone and a number of views."""

    backbone: str
    views: int
    images: int
    episodes: int


FULL = (
    Size("conv4", 1, 12_000, 10_000),
    Size("conv4", 4, 1_800, 1_500),
    Size("resnet12", 1, 600, 500),
)
QUICK = (Size("conv4", 1, 1_200, 1_000), Size("conv4", 4, 600, 500))


class Fixed(NamedTuple):
    """The same images and episodes for all.

    Args:
        task: network and views.
        support: (T, 25) positions, class after class.
        query: (T, 75) positions, class after class.
    """

    task: Evaluation
    support: Tensor
    query: Tensor

    def joined(self) -> list[list[int]]:
        """Positions of each episode's images, way after way, the supports of a way before its queries."""
        parts = [part.unflatten(1, (WAYS, -1)) for part in (self.support, self.query)]
        return torch.cat(parts, 2).flatten(1).tolist()


def topic(missing: Collection[str], sizes: Sequence[Size] = FULL) -> Topic:
    """One comparison per size; libraries in `missing` are left out."""
    return Topic(
        "evaluation",
        "episode",
        f"{WAYS}-way {SHOTS}-shot {QUERIES}-query test episodes of prototypical networks, {SIZE} px; "
        "with fewer than 10,000 episodes there are fewer images in proportion (12,000). Ours embeds each "
        f"image once: its time is that of all embeddings and all episodes, per episode. {PER_EPISODE!r} "
        "takes its images from our tensors; the libraries run their own evaluation code and loaders. "
        f"Difference: of the logits of {CHECKED} episodes, relative to the largest; predictions and "
        "accuracies are identical.",
        [comparison(size, missing) for size in sizes],
        {
            "learn2learn": "knows no views of an image (M = 4)",
            "easyfsl": "knows no views of an image (M = 4)",
            "qpth": "solves what heads need, see there",
        },
    )


def comparison(size: Size, missing: Collection[str]) -> Comparison:
    """Ours and the others with one backbone."""
    data = evaluation.random_images(size.images)
    task = Evaluation(evaluation.trained(size.backbone, data), data, size.views)
    fixed = Fixed(task, *evaluation.draw_episodes(size.episodes, size.images))
    first = Fixed(task, fixed.support[:CHECKED], fixed.query[:CHECKED])
    expected = task.ours(first.support, first.query, 100)[-1]

    def run() -> int:
        task.ours(fixed.support, fixed.query, 100)
        return size.episodes

    implementations = {OURS: Implementation(run, "sla-bench", 0.0)}
    for name, (package, build) in WAYS_TO_EVALUATE.items():
        if name not in missing and (size.views == 1 or name == PER_EPISODE):
            logits, candidate = build(first)
            found = torch.stack(list(itertools.islice(logits, CHECKED)))
            allowed = TOLERANCE if name == PER_EPISODE else LIBRARY_TOLERANCE
            difference = checked(f"{name}: logits", relative(found, expected), allowed)
            if not torch.equal(found.argmax(-1), expected.argmax(-1)):
                raise SystemExit(f"{name}: predictions differ from ours")
            implementations[name] = Implementation(candidate, package, difference)
    views = f", M = {size.views}" if size.views > 1 else ""
    return Comparison(f"{size.backbone}{views}, {size.episodes:,} episodes", implementations)


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


Evaluated = tuple[Iterator[Tensor], Candidate]
"""Logits of one episode after the other in our form, (75, 5), and what is timed."""


def per_episode(fixed: Fixed) -> Evaluated:
    """Embed the images of each episode, from our own tensors, with all views."""

    def logits() -> Iterator[Tensor]:
        for support, query in itertools.cycle(zip(fixed.support, fixed.query, strict=True)):
            yield fixed.task.naive(support[None], query[None])[1][0]

    return logits(), next_of(logits())


def with_learn2learn(fixed: Fixed) -> Evaluated:
    """Its task data set, its prototypical classifier and its accuracy, as in its own example."""
    with contextlib.redirect_stderr(io.StringIO()):
        from learn2learn.nn import PrototypicalClassifier
        from learn2learn.utils import accuracy

    backbone = fixed.task.backbone
    images = TorchvisionImages(fixed.task.data, fixed.task.batches.properties)
    adapts = (torch.arange(SHOTS + QUERIES) < SHOTS).repeat(WAYS)

    def logits() -> Iterator[Tensor]:
        for pixels, labels in learn2learn_tasks(images, SHAPE, fixed.joined()):
            with torch.no_grad():
                embedded = backbone(pixels)
                classifier = PrototypicalClassifier(embedded[adapts], labels[adapts])
                scores = classifier(embedded[~adapts])
                accuracy(scores, labels[~adapts])
            # -d^2, where ours is divided by the length of an embedding; columns in the order of its labels.
            yield scores[:, labels[adapts][::SHOTS]] / embedded.shape[1]

    return logits(), next_of(logits())


def with_easyfsl(fixed: Fixed) -> Evaluated:
    """Its loader, its prototypical networks and its function `evaluate`.

    Raises:
        SystemExit: the accuracy that `evaluate` returns is not ours.
    """
    from easyfsl.methods import PrototypicalNetworks
    from easyfsl.utils import evaluate

    model = PrototypicalNetworks(fixed.task.backbone).eval()
    images = TorchvisionImages(fixed.task.data, fixed.task.batches.properties)
    loader = easyfsl_loader(images, SHAPE, fixed.joined())

    def logits() -> Iterator[Tensor]:
        for support, support_labels, query, _, _ in loader:
            with torch.no_grad():
                model.process_support_set(support, support_labels)
                distances = model(query)[:, support_labels[::SHOTS]]
            yield -distances.square() / fixed.task.backbone.num_features

    def run() -> int:
        evaluate(model, loader, device="cpu", use_tqdm=False)
        return len(fixed.support)

    hits = fixed.task.ours(fixed.support, fixed.query, 100)[-1].argmax(-1) == torch.arange(
        WAYS
    ).repeat_interleave(QUERIES)
    found = evaluate(model, loader, device="cpu", use_tqdm=False)
    if abs(found - float(hits.double().mean())) > 1e-12:
        raise SystemExit(f"easyfsl's accuracy is {found}, ours {float(hits.double().mean())}")
    return logits(), run


WAYS_TO_EVALUATE: dict[str, tuple[str, Callable[[Fixed], Evaluated]]] = {
    PER_EPISODE: ("torch", per_episode),
    "learn2learn": ("learn2learn", with_learn2learn),
    "easyfsl": ("easyfsl", with_easyfsl),
}
