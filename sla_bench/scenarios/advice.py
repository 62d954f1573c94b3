"""Methods without training, compared on one's own pictures with a frozen network."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sla_bench.config import FewShotRun
from sla_bench.data.base import By, Dataset, LabeledImages, Split
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError, first_names
from sla_bench.evaluation.advice import LEAST_PICTURES, Advice, advise, deal
from sla_bench.evaluation.embedding import embed, episode_chunks
from sla_bench.objectives.episodes import EpisodeFeatures
from sla_bench.registry import TRANSFORMS
from sla_bench.scenarios.base import FEATURES, build_backbone
from sla_bench.scenarios.fewshot.frozen import ROWS, FrozenReader, WithFlip, candidates
from sla_bench.scenarios.pretraining import complete
from sla_bench.training.episodes import FlatEpisodes, fixed_episodes
from sla_bench.views.augment import ImageBatches

PLAIN = "baseline"
NAMES = {
    "baseline": "plain",
    "baseline+flip": "flip",
    "baseline+TTA": "turns",
    "DA": "turned supports",
    "SLA+AG": "SLA",
}
"""Row of a frozen network -> its name here."""
MOST_WAYS, MOST_SHOTS, EPISODES = 5, 5, 20
"""Classes and supports of an episode, and episodes of a group."""
MOST_PICTURES = 20_000
"""That are embedded, in all views: half an hour on two cores."""
LONG_TAIL = 10.0
"""Largest class / smallest class, from which a folder is called imbalanced."""
_LEAST_CLASSES = 6
"""Of a folder for the few-shot scenario: two for each of train, val and test."""
_QUERIES = 5
_LEARNER = "finetune"


@dataclass(frozen=True)
class Findings:
    """The pictures of a folder, and which method suits them.

    Args:
        dataset: its name.
        network: backbone, and the data of its pretraining.
        options: the words of a command that name data set and network.
        size: height = width of the pictures.
        trained_size: that of the pretraining.
        sizes: class -> pictures.
        remarks: lines on unusual pictures.
        shots: supports of a class in an episode.
        ways: classes of an episode.
        passes: method -> passes through the network for a new picture.
        recalls: class -> recall in % of the plain method.
        advice: the comparison.
    """

    dataset: str
    network: str
    options: str
    size: int
    trained_size: int
    sizes: dict[str, int]
    remarks: list[str]
    shots: int
    ways: int
    passes: dict[str, int]
    recalls: dict[str, float]
    advice: Advice

    @property
    def scenario(self) -> str:
        """The scenario that fits the folder: few-shot, imbalanced or standard."""
        counts = list(self.sizes.values())
        if np.median(counts) < 20 and len(counts) >= _LEAST_CLASSES:
            return "fewshot"
        return "imbalanced" if max(counts) >= LONG_TAIL * min(counts) else "standard"

    @property
    def hardest(self) -> list[str]:
        """Up to three classes of the lowest recall, below 90 %."""
        low = sorted((recall, name) for name, recall in self.recalls.items() if recall < 90)
        return [name for _, name in low[:3]]


def all_images(
    dataset: Dataset, data_root: Path, seed: int = 0, most: int = MOST_PICTURES
) -> tuple[LabeledImages, np.ndarray]:
    """Every picture of a data set, whatever its splits; of many, some of each class.

    Args:
        dataset: most often a folder.
        data_root: where its prepared pictures lie.
        seed: draws the pictures where there are too many.
        most: pictures; larger classes give as many as the others.

    Returns:
        The pictures, and how many each class has in all, int64 (C,).

    Raises:
        UserError: the data cannot be read, or have too many classes.
    """
    by: By = "images" if "images" in dataset.ways_to_split("test", data_root) else "classes"
    splits: tuple[Split, ...] = ("trainval", "test") if by == "images" else ("train", "val", "test")
    parts = [dataset.load(split, by, data_root) for split in splits]
    names = tuple(dict.fromkeys(name for part in parts for name in part.class_names))
    labels = [np.array([names.index(name) for name in part.class_names])[part.labels] for part in parts]
    whole = np.concatenate(labels).astype(np.int64)
    counts = np.bincount(whole, minlength=len(names))
    index = _drawn(whole, counts, seed, most)
    if index is None:
        raise UserError(
            f"{dataset.name} has {len(names):,} classes; advise compares {most:,} pictures at most, fewer "
            f"than {LEAST_PICTURES} of each: take a folder of fewer classes"
        )
    ends = np.cumsum([len(part) for part in parts])
    cut = np.split(index, np.searchsorted(index, ends[:-1]))
    starts = ends - [len(part) for part in parts]
    pixels = [part.images[own - start] for part, own, start in zip(parts, cut, starts, strict=True)]
    return LabeledImages(np.concatenate(pixels), whole[index], names), counts


def _drawn(labels: np.ndarray, counts: np.ndarray, seed: int, most: int) -> np.ndarray | None:
    """Ascending positions of the pictures that are looked at; None where classes would have too few."""
    if len(labels) <= most:
        return np.arange(len(labels))
    each = int(np.searchsorted([np.minimum(counts, n).sum() for n in range(1, most + 1)], most, "right"))
    if each < LEAST_PICTURES:
        return None
    random = np.random.default_rng(seed)
    chosen = [random.permutation(np.flatnonzero(labels == k))[:each] for k in range(len(counts))]
    return np.sort(np.concatenate(chosen))


def measure(
    name: str,
    data_root: Path,
    backbone: str,
    weights: str | None,
    transform: str,
    seed: int,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> Findings:
    """Compare the methods without training on a folder of pictures.

    Args:
        name: of the data set.
        data_root: where prepared pictures and features are kept.
        backbone: a network with pretrained weights.
        weights: as `--weights`; None: default.
        transform: turns or colours, of SLA and of the mean over views.
        seed: deals the pictures to groups.
        device: where to compute.
        progress: told the pictures that are embedded.

    Raises:
        UserError: the folder cannot be read or is too small, or weights are missing.
    """
    from sla_bench.models.backbones.libraries import library_size

    dataset = dataset_named(name).pinned()
    images, counts = all_images(dataset, data_root, seed)
    values = {"dataset": name, "backbone": backbone}
    complete("fewshot", values, {"backbone": backbone, "weights": weights or "default", "train": "none"})
    run = FewShotRun(**values, learner=_LEARNER)
    network = build_backbone(run, dataset.properties, data_root / FEATURES).to(device).eval()
    views = WithFlip(TRANSFORMS.load(transform))
    batches, index = ImageBatches(images, dataset.properties, device), torch.arange(len(images))
    features = embed(network, batches, index, views, device=device, progress=progress).cpu()
    groups = [
        _Group(features, images.labels, part, seed + k) for k, part in enumerate(deal(images.labels, seed))
    ]
    half = len(groups) // 2
    with _one_thread():
        chosen = {row: _best(groups[:half], row, transform) for row in NAMES}
        read = [{row: group.hits(row, chosen[row], transform) for row in NAMES} for group in groups]
    accuracies = [
        {NAMES[row]: np.array([float(group[row].double().mean()) for group in part]) for row in NAMES}
        for part in (read[:half], read[half:])
    ]
    passes = {
        NAMES[row]: FrozenReader(method, TRANSFORMS.load(transform)).rows[row].query
        for method, rows in ROWS.items()
        for row in rows
        if row in NAMES
    }
    return Findings(
        name,
        f"{backbone}, pretrained on {run.pretrained_on}",
        shlex.join(["--dataset", name, "--backbone", backbone, "--weights", weights or "default"]),
        dataset.properties.size,
        library_size(backbone),
        dict(zip(images.class_names, counts.tolist(), strict=True)),
        [*dataset.remarks(data_root), *_left_out(images), *_sampled(len(images), int(counts.sum()))],
        groups[0].shots,
        groups[0].ways,
        passes,
        _recalls(groups, read, images.class_names),
        advise(accuracies[0], accuracies[1], NAMES[PLAIN]),
    )


def _sampled(compared: int, there: int) -> Iterator[str]:
    if compared < there:
        yield f"compared on {compared:,} of {there:,} pictures: as many of each class, or all that it has"


def _left_out(images: LabeledImages) -> Iterator[str]:
    small = [
        name
        for name, count in zip(images.class_names, images.class_counts, strict=True)
        if count < LEAST_PICTURES
    ]
    if small:
        yield f"not compared, fewer than {LEAST_PICTURES} pictures: {first_names(small)}"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small matrices are slower on several threads, several times so where cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Group:
    """Episodes on the pictures of one group."""

    def __init__(self, features: Tensor, labels: np.ndarray, index: np.ndarray, seed: int) -> None:
        counts = np.bincount(labels[index])
        usual = int(np.quantile(counts[counts > 0], 0.25))
        if (counts >= usual).sum() < 2:
            usual = int(counts[counts > 0].min())
        # Classes smaller than usual would leave the others fewer supports: they are not asked.
        index = index[counts[labels[index]] >= usual]
        self.features = features[torch.from_numpy(index)]
        self.classes, own = np.unique(labels[index], return_inverse=True)
        self.shots = min(MOST_SHOTS, usual // 2)
        self.ways = min(MOST_WAYS, len(self.classes))
        queries = min(_QUERIES, usual - self.shots)
        self.episodes: FlatEpisodes = fixed_episodes(own, self.ways, self.shots, queries, EPISODES, seed)

    def hits(self, row: str, C: float, transform: str) -> Tensor:
        """Whether each query is right, bool (T, Q), by a row with heads of one C."""
        method = next(method for method, rows in ROWS.items() if row in rows)
        head = candidates(_LEARNER, {})[C]
        reader = FrozenReader(method, TRANSFORMS.load(transform), only=row)
        found = []
        for chunk in episode_chunks(self.features, self.episodes.support, self.episodes.query):
            labels = self.episodes.query_labels[chunk.episodes]
            of = EpisodeFeatures(
                chunk.support, self.episodes.support_labels[chunk.episodes], chunk.query, labels, self.ways
            )
            with torch.no_grad():
                found.append(reader.read(of, head)[row].argmax(-1) == labels)
        return torch.cat(found)


def _best(groups: Sequence[_Group], row: str, transform: str) -> float:
    """The C of the best accuracy over some groups."""
    right = {
        C: sum(int(group.hits(row, C, transform).sum()) for group in groups) for C in candidates(_LEARNER, {})
    }
    return max(right, key=right.__getitem__)


def _recalls(
    groups: Sequence[_Group], read: Sequence[dict[str, Tensor]], names: Sequence[str]
) -> dict[str, float]:
    """Recall in % of each class by the plain row, over all groups."""
    right, asked = np.zeros(len(names)), np.zeros(len(names))
    for group, hits in zip(groups, read, strict=True):
        episodes = group.episodes
        classes = torch.from_numpy(group.classes)[episodes.classes.gather(1, episodes.query_labels)]
        right += np.bincount(classes.flatten(), hits[PLAIN].flatten().double(), len(names))
        asked += np.bincount(classes.flatten(), minlength=len(names))
    return {name: 100 * right[k] / asked[k] for k, name in enumerate(names) if asked[k]}


def verdict(found: Findings) -> Iterator[str]:
    """Yield the sentences of the verdict: what to use, by how much, at which cost, and what else to try.

    Args:
        found: as from `measure`.
    """
    advice, plain = found.advice, found.advice.rows["plain"]
    if advice.method is not None:
        best = advice.rows[advice.method]
        cost = f"{found.passes[advice.method]} passes of the network per new picture, not 1"
        yield (
            f"Use {advice.method}: {best.gain:+.1f} points of accuracy over plain ({best.low:+.1f} to "
            f"{best.high:+.1f}), at {cost}."
        )
    elif advice.chosen is not None:
        best = advice.rows[advice.chosen]
        yield (
            f"Use plain: {advice.chosen} looked best on the first half of the pictures; on the second its "
            f"gain is {best.gain:+.1f} points ({best.low:+.1f} to {best.high:+.1f}), which may be nothing."
        )
    else:
        yield "Use plain: no method was better on the first half of the pictures."
    sla = advice.rows["SLA"]
    if advice.chosen != "SLA":
        yield f"SLA with joint labels: {sla.gain:+.1f} points over plain ({sla.low:+.1f} to {sla.high:+.1f})."
    more = []
    if 2 * found.size <= found.trained_size:
        more.append(f"pictures of {found.trained_size} px, as in the pretraining, in place of {found.size}")
    if found.hardest:
        more.append(f"more pictures of {', '.join(found.hardest)}, the classes with the lowest recall")
    if plain.accuracy < 80:
        more.append(f"training on all pictures (run {found.scenario} {found.options} --train last-stage)")
    if more:
        yield f"Next to try: {'; '.join(more)}."
