"""Methods without training: few-shot heads on the features of a frozen network."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sla_bench.config import FewShotRun
from sla_bench.objectives.episodes import EpisodeFeatures, EpisodeScores, Head, Passes
from sla_bench.registry import LEARNERS
from sla_bench.scenarios.fewshot.demands import Demand
from sla_bench.scenarios.fewshot.episode_reader import EpisodeReader, EpisodicModel
from sla_bench.seeds import derive_seed
from sla_bench.training.episodes import fixed_episodes
from sla_bench.training.loop import TrainingResult
from sla_bench.views.transforms import Transform

C_GRID = (0.3, 1.0, 4.0, 30.0)
"""Values of C that the learner `finetune` chooses from on validation, for every row alike."""
CHOICE_EPISODES = 100
"""Validation episodes of that choice."""


class WithFlip:
    """The views of a transform, then each image mirrored left and right.

    Args:
        transform: M views.
    """

    def __init__(self, transform: Transform) -> None:
        self.transform, self.num_views = transform, transform.num_views + 1

    def view(self, images: Tensor, j: int) -> Tensor:
        """View j of every image (B, C, H, W); the last is the mirrored image."""
        return images.flip(3) if j == self.transform.num_views else self.transform.view(images, j)

    def views(self, images: Tensor) -> Tensor:
        """All views: (B, C, H, W) -> (B, M + 1, C, H, W)."""
        return torch.stack([self.view(images, j) for j in range(self.num_views)], dim=1)

    def view_key(self, j: int) -> str:
        """Names view j, see `Transform.view_key`."""
        return "flip" if j == self.transform.num_views else self.transform.view_key(j)


class SomeViews:
    """Some views of a transform in its place.

    Args:
        of: has more views.
        chosen: numbers of its views.

    Attributes:
        numbers: of the views among those of `of`.
    """

    def __init__(self, of: WithFlip, chosen: Sequence[int]) -> None:
        self._of, self.numbers, self.num_views = of, tuple(chosen), len(chosen)

    def view(self, images: Tensor, j: int) -> Tensor:
        """View j of every image (B, C, H, W)."""
        return self._of.view(images, self.numbers[j])

    def views(self, images: Tensor) -> Tensor:
        """All views: (B, C, H, W) -> (B, M, C, H, W)."""
        return torch.stack([self.view(images, j) for j in range(self.num_views)], dim=1)

    def view_key(self, j: int) -> str:
        """Names view j, see `Transform.view_key`."""
        return self._of.view_key(self.numbers[j])


Fit = Callable[[EpisodeScores], Tensor]
"""Logits (E, Q, W) from the scores by a head of the views that the features have."""


class FrozenRow(NamedTuple):
    """A row: how heads are fitted on the views, and the views.

    Args:
        fit: fits and asks.
        turns: it reads the views of the transform; else the image as it is.
        flip: it reads the mirrored image too.
        all_supports: all these views of the supports are needed, even where one of the query is asked.
        all_queries: the mean over the views of the query.
    """

    fit: Fit
    turns: bool = False
    flip: bool = False
    all_supports: bool = False
    all_queries: bool = False


def _of_each(scores: EpisodeScores) -> Tensor:
    """One head per view, asked with that view of the query."""
    return scores.read("class", mean=True)


def _pooled(scores: EpisodeScores, mean: bool) -> Tensor:
    """One head on all views of the supports under the ways' labels."""
    logits = scores.scores("class", "pooled")
    return logits.mean(-2) if mean else logits[..., 0, :]


def _joint(scores: EpisodeScores, mean: bool) -> Tensor:
    """One head on the joint classes (way, view), of which the columns of the query's view are read."""
    return scores.read("own", mean)


def _some(features: EpisodeFeatures, views: Sequence[int]) -> EpisodeFeatures:
    index = torch.tensor(views, device=features.support.device)
    support, query = features.support.index_select(2, index), features.query.index_select(2, index)
    return EpisodeFeatures(support, features.support_labels, query, features.query_labels, features.ways)


ROWS: Mapping[str, Mapping[str, FrozenRow]] = {
    "baseline": {
        "baseline": FrozenRow(_of_each),
        "baseline+TTA": FrozenRow(_of_each, turns=True, all_supports=True, all_queries=True),
        "baseline+flip": FrozenRow(_of_each, flip=True, all_supports=True, all_queries=True),
    },
    "da": {
        "DA": FrozenRow(partial(_pooled, mean=False), turns=True, all_supports=True),
        "DA+TTA": FrozenRow(partial(_pooled, mean=True), turns=True, all_supports=True, all_queries=True),
    },
    "sla": {
        "SLA+AG": FrozenRow(partial(_joint, mean=True), turns=True, all_supports=True, all_queries=True),
        "SLA+SI": FrozenRow(partial(_joint, mean=False), turns=True, all_supports=True),
    },
}
"""Method -> its rows on frozen features."""


class FrozenReader:
    """Reads the rows of a method on the features of a frozen network.

    Args:
        method: a key of ROWS.
        transform: makes the M views of an image.
        heads: row -> the head that reads it; others are read by the head that `read` is given.
        only: the one row that is wanted; None: all of the method.

    Attributes:
        rows: row -> its cost.
        views: the views that the features must have, in this order.
    """

    def __init__(
        self,
        method: str,
        transform: Transform,
        heads: Mapping[str, Head] | None = None,
        only: str | None = None,
    ) -> None:
        self._rows = {name: row for name, row in ROWS[method].items() if only in (None, name)}
        self._turns, self._heads = range(transform.num_views), heads or {}
        self.views = WithFlip(transform)
        self.rows = {name: self._passes(row) for name, row in self._rows.items()}

    def read(
        self, features: EpisodeFeatures, head: Head, rows: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return row -> logits (E, Q, W) for `rows`, None: all."""
        # Rows that read one head on the same views share its fit.
        scores: dict[tuple[int, tuple[int, ...]], EpisodeScores] = {}
        found = {}
        for name in rows or self._rows:
            row = self._rows[name]
            own, views = self._heads.get(name, head), tuple(self._views_of(row))
            of = scores.setdefault((id(own), views), EpisodeScores(_some(features, views), own))
            found[name] = row.fit(of)
        return found

    def row_and_views(self, name: str) -> tuple[Fit, SomeViews]:
        """How a row is fitted, and the views that it needs alone."""
        row = self._rows[name]
        return row.fit, SomeViews(self.views, self._views_of(row))

    def _views_of(self, row: FrozenRow) -> list[int]:
        return [*(self._turns if row.turns else [0]), *([len(self._turns)] if row.flip else [])]

    def _passes(self, row: FrozenRow) -> Passes:
        every = len(self._views_of(row))
        return Passes(every if row.all_supports else 1, every if row.all_queries else 1)


def candidates(learner: str, options: Mapping[str, object]) -> dict[float, nn.Module]:
    """Heads to choose from on validation by their C; none where it is fixed or the learner has no C."""
    if learner != "finetune" or "C" in options:
        return {}
    head = LEARNERS.load(learner)
    return {C: head(**{**options, "C": C}) for C in C_GRID}


def best_c(
    config: FewShotRun, demand: Demand, reader: EpisodeReader, model: EpisodicModel, transform: Transform
) -> dict[str, float]:
    """Return row -> the C of the best accuracy on validation episodes like those of the test.

    The least of equals is taken.

    Args:
        config: the run, whose learner has a C to choose.
        demand: ways, shots and queries of an episode.
        reader: of the validation images.
        model: the frozen network.
        transform: makes the M views of an image.
    """
    episodes = fixed_episodes(
        reader.labels,
        ways=demand.ways,
        shots=demand.shots,
        queries=demand.queries,
        count=CHOICE_EPISODES,
        seed=derive_seed("validation"),
    )
    rows = list(ROWS[config.method])
    right: dict[str, dict[float, int]] = {row: {} for row in rows}
    views = FrozenReader(config.method, transform).views
    chunks = reader.chunks(model, views, config.precision)
    for C, head in candidates(config.learner, config.learner_options).items():
        frozen = FrozenReader(config.method, transform, dict.fromkeys(rows, head))
        for row, hits in reader.hits([model], [chunks], frozen, episodes, rows).items():
            right[row][C] = int(hits.sum())
    return {row: max(by_C, key=by_C.__getitem__) for row, by_C in right.items()}


def untrained(model: nn.Module, accuracy: float) -> TrainingResult:
    """The result of a training of no steps.

    Args:
        model: backbone and head.
        accuracy: on validation data, in 0..1.
    """
    row = {
        "step": 0,
        "train_loss": math.nan,
        "train_accuracy": math.nan,
        "val_accuracy": accuracy,
        "learning_rate": 0.0,
        "seconds": 0.0,
    }
    return TrainingResult({k: v.detach().clone() for k, v in model.state_dict().items()}, [row])
