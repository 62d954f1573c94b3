"""Few-shot episodes as index tensors, without pixels."""

# Shapes: E episodes (T in a fixed list), W ways, K shots, Q queries per way.

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from sla_bench.errors import UserError
from sla_bench.seeds import derive_seed

_CHUNK = 256


@dataclass(frozen=True)
class FlatEpisodes:
    """Episodes as a head takes them: labels count the ways from 0, queries are in random order.

    Args:
        classes: int64 (E, W), the class behind each label.
        support: int64 (E, W*K), positions in the data set.
        support_labels: int64 (E, W*K), 0..W-1.
        support_views: int64 (E, W*K), the view in which each image appears; 0 is the image as it is.
        query: int64 (E, W*Q).
        query_labels: int64 (E, W*Q).
        query_views: int64 (E, W*Q).
    """

    classes: Tensor
    support: Tensor
    support_labels: Tensor
    support_views: Tensor
    query: Tensor
    query_labels: Tensor
    query_views: Tensor


@dataclass(frozen=True)
class Episodes:
    """Episodes by way.

    Args:
        classes: int64 (E, W), without repetition inside an episode unless the pool has views.
        views: int64 (E, W), the view of each way; all 0 where the pool has none.
        support: int64 (E, W, K), positions in the data set.
        query: int64 (E, W, Q), disjoint from the way's support.
    """

    classes: Tensor
    views: Tensor
    support: Tensor
    query: Tensor

    def flatten(self, generator: torch.Generator) -> FlatEpisodes:
        """Number the ways and shuffle the queries of each episode, so that labels can't leak by position."""
        episodes, ways, shots = self.support.shape
        queries = self.query.shape[2]
        place = torch.rand(episodes, ways * queries, generator=generator).argsort(dim=1, stable=True)

        def spread(per_way: Tensor, times: int) -> Tensor:
            return per_way[..., None].expand(episodes, ways, times).reshape(episodes, -1)

        def shuffled(by_way: Tensor) -> Tensor:
            return by_way.flatten(1).gather(1, place)

        numbers = torch.arange(ways).expand(episodes, ways)
        return FlatEpisodes(
            classes=self.classes,
            support=self.support.flatten(1),
            support_labels=spread(numbers, shots),
            support_views=spread(self.views, shots),
            query=shuffled(self.query),
            query_labels=shuffled(spread(numbers, queries)),
            query_views=shuffled(spread(self.views, queries)),
        )


class EpisodeSampler:
    """Draws episodes: W classes without replacement, then K + Q images of each without replacement.

    With `views` = M the pool is that of all pairs (class, view), W of which make an episode. Each pair draws
    its images on its own, so that two views of one class may meet in an episode, and may share an image.

    Drawing a and then b episodes gives the same as drawing a + b at once. The work for an episode grows with
    W times the size of the largest class.

    Args:
        labels: integers (N,), tensor or array; the class of each image, 0..C-1.
        ways: W.
        shots: K, support images per way.
        queries: Q, query images per way.
        seed: of the sampler's own generator.
        views: M, views of each class in the pool.

    Raises:
        UserError: a number is not positive, there are fewer than W classes (pairs), or a class has fewer than
            K + Q images.
    """

    def __init__(
        self,
        labels: Tensor | np.ndarray,
        ways: int,
        shots: int,
        queries: int,
        seed: int = 0,
        *,
        views: int = 1,
    ) -> None:
        _check_positive(ways=ways, shots=shots, queries=queries, views=views)
        counts, order = _by_class(labels)
        if ways > len(counts) * views:
            pool = f"{len(counts)} classes" + (f" x {views} views" if views > 1 else "")
            raise UserError(
                f"{ways} ways need as many classes, the data has {pool}: --ways and --train-ways can ask for "
                f"{len(counts) * views} at most"
            )
        smallest = int(counts.argmin())
        if shots + queries > counts[smallest]:
            raise UserError(
                f"{shots} shots + {queries} queries need {shots + queries} images of each class, "
                f"the class of label {smallest} has {counts[smallest]}"
            )
        self.ways, self.shots, self.queries, self.views = ways, shots, queries, views
        self.generator = torch.Generator().manual_seed(seed)
        self._counts, self._order = torch.from_numpy(counts), torch.from_numpy(order)
        self._starts = self._counts.cumsum(0) - self._counts

    def sample(self, episodes: int) -> Episodes:
        """Draw E episodes.

        Raises:
            UserError: E is not positive.
        """
        _check_positive(episodes=episodes)
        pool, largest = len(self._counts) * self.views, int(self._counts.max())
        # The largest of random keys are a sample without replacement. One row of keys serves one episode, so
        # that how many are drawn at a time makes no difference.
        keys = torch.rand(episodes, pool + self.ways * largest, generator=self.generator)
        pairs = keys[:, :pool].topk(self.ways).indices
        classes = pairs // self.views
        image_keys = keys[:, pool:].unflatten(1, (self.ways, largest))
        if int(self._counts.min()) < largest:
            absent = torch.arange(largest) >= self._counts[classes][..., None]
            image_keys = image_keys.masked_fill(absent, -1.0)
        ranks = _largest(image_keys, self.shots + self.queries)
        images = self._order[self._starts[classes][..., None] + ranks]
        support, query = images.split((self.shots, self.queries), dim=2)
        return Episodes(classes, pairs % self.views, support, query)

    def state(self) -> Tensor:
        """State of the generator, uint8, for a checkpoint."""
        return self.generator.get_state()

    def load_state(self, state: Tensor) -> None:
        """Restore a state."""
        self.generator.set_state(state)


def fixed_episodes(
    labels: Tensor | np.ndarray, ways: int, shots: int, queries: int, count: int, seed: int
) -> FlatEpisodes:
    """A fixed list of episodes that depends on these arguments only; a longer list begins with a shorter one.

    Args:
        labels: integers (N,), tensor or array.
        ways: W.
        shots: K.
        queries: Q.
        count: T, number of episodes.
        seed: chooses the list.

    Raises:
        UserError: as `EpisodeSampler`, or `count` is not positive.
    """
    _check_positive(count=count)
    sampler = EpisodeSampler(labels, ways, shots, queries, seed=derive_seed("episodes", seed))
    shuffling = torch.Generator().manual_seed(derive_seed("query order", seed))
    parts = [
        sampler.sample(min(_CHUNK, count - start)).flatten(shuffling) for start in range(0, count, _CHUNK)
    ]
    return FlatEpisodes(
        **{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(FlatEpisodes)}
    )


def disjoint_episodes(
    labels: Tensor | np.ndarray, ways: int, shots: int, queries: int, seed: int
) -> FlatEpisodes:
    """As many episodes as the data can give without showing any image twice, for an honest interval.

    Accuracies of such tasks are independent given the classes (arXiv 2409.02850). A class serves once for
    each K + Q images that it has; classes are used as evenly as their sizes allow. Which of them meet is
    random, with the chance of each in proportion to how often it still has to serve.

    Args:
        labels: integers (N,), tensor or array.
        ways: W.
        shots: K.
        queries: Q.
        seed: of everything random here.

    Returns:
        T episodes, T the largest number possible.

    Raises:
        UserError: a number is not positive, or fewer than W classes have K + Q images.
    """
    _check_positive(ways=ways, shots=shots, queries=queries)
    rng = np.random.default_rng(derive_seed("disjoint episodes", seed))
    counts, order = _by_class(labels, rng)
    size = shots + queries
    capacity = counts // size
    if np.count_nonzero(capacity) < ways:
        raise UserError(
            f"{ways}-way tasks of {shots} shots + {queries} queries need {ways} classes of {size} images, "
            f"the data has {np.count_nonzero(capacity)} of them"
        )
    classes = _meetings(_uses(capacity, ways, rng), ways, rng)
    flat = classes.ravel()
    by_class = flat.argsort(kind="stable")
    turn = np.empty_like(flat)
    appearances = np.bincount(flat, minlength=len(counts))
    turn[by_class] = np.arange(len(flat)) - np.repeat(appearances.cumsum() - appearances, appearances)
    first = (counts.cumsum() - counts)[flat] + turn * size
    images = torch.from_numpy(order[first[:, None] + np.arange(size)].reshape(*classes.shape, size))
    episodes = Episodes(
        torch.from_numpy(classes),
        torch.zeros(classes.shape, dtype=torch.int64),
        images[..., :shots],
        images[..., shots:],
    )
    return episodes.flatten(torch.Generator().manual_seed(derive_seed("disjoint query order", seed)))


def _uses(capacity: np.ndarray, ways: int, rng: np.random.Generator) -> np.ndarray:
    """Tasks per class, (C,): the sum is W*T for the largest T, and each entry is at most T."""
    tasks = int(capacity.sum()) // ways
    while (fitting := int(np.minimum(capacity, tasks).sum())) < ways * tasks:
        tasks = fitting // ways
    needed = ways * tasks
    level = max(n for n in range(tasks + 1) if np.minimum(capacity, n).sum() <= needed)
    uses: np.ndarray = np.minimum(capacity, level)
    spare = np.flatnonzero(capacity > level)
    uses[rng.permutation(spare)[: needed - uses.sum()]] += 1
    return uses


def _meetings(uses: np.ndarray, ways: int, rng: np.random.Generator) -> np.ndarray:
    """The classes of each task, (T, W), without repetition; class c appears `uses[c]` times.

    A class that has to serve in all remaining tasks is taken; then any choice of the others leaves a
    solvable rest, since no class has more to serve than there are tasks.
    """
    remaining = uses.copy()
    tasks = np.empty((int(uses.sum()) // ways, ways), dtype=np.int64)
    for done in range(len(tasks)):
        # The smallest of exponential variables, each divided by its weight, are a weighted sample.
        waiting = np.full(len(uses), np.inf)
        np.divide(rng.exponential(size=len(uses)), remaining, out=waiting, where=remaining > 0)
        waiting[remaining == len(tasks) - done] = -1
        tasks[done] = np.argpartition(waiting, ways - 1)[:ways]
        remaining[tasks[done]] -= 1
    return rng.permuted(rng.permutation(tasks), axis=1)


def _by_class(
    labels: Tensor | np.ndarray, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Class sizes (C,), and positions (N,) sorted by class, inside a class at random if `rng` is given."""
    array = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if array.ndim != 1 or not len(array) or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
        raise UserError(f"labels must be integers (N,) from 0 on, got {array.dtype} {array.shape}")
    inside = np.zeros(len(array)) if rng is None else rng.random(len(array))
    return np.bincount(array).astype(np.int64), np.lexsort((inside, array)).astype(np.int64)


def _largest(keys: Tensor, count: int) -> Tensor:
    """`keys.topk(count).indices`, ties included, in half the time: NumPy partitions faster."""
    size = keys.shape[-1]
    if count == size:
        return keys.topk(count).indices
    rows = keys.reshape(-1, size)
    # One more than asked for shows a tie at the border.
    candidates = torch.from_numpy(rows.numpy().argpartition(size - count - 1)[:, -count - 1 :])
    values, order = rows.gather(1, candidates).sort(descending=True)
    result = candidates.gather(1, order[:, :count])
    tied = (values[:, 1:] == values[:, :-1]).any(1)
    if bool(tied.any()):
        # Which of equal keys come first is topk's choice.
        result[tied] = rows[tied].topk(count).indices
    return result.view(*keys.shape[:-1], count)


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise UserError(f"{name} must be at least 1, got {number}")
