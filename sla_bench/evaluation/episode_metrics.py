"""Few-shot accuracy with three intervals: closed, open, and over classes."""

# All metrics start from `hits` (T, W): correct queries of each way of each episode. Accuracies are fractions
# 0..1.

from __future__ import annotations

from typing import TypedDict

import numpy as np
from scipy.special import stdtrit

from sla_bench.errors import UserError


class FewShotMetrics(TypedDict):
    """The result of `few_shot_metrics`; plain numbers, or None for undefined metrics.

    `accuracy`, `ci95_closed` (half-width), `jackknife_se` and `episodes` are of the test episodes;
    `accuracy_open`, `ci95_open` (half-width) and `open_tasks` of the tasks that share no image.
    """

    accuracy: float
    ci95_closed: float | None
    jackknife_se: float | None
    episodes: int
    accuracy_open: float | None
    ci95_open: float | None
    open_tasks: int


def episode_accuracy(hits: np.ndarray, queries: int) -> np.ndarray:
    """Accuracy of each episode.

    Args:
        hits: (T, W) integers, correct queries of each way.
        queries: Q, queries of each way.

    Returns:
        (T,) fractions 0..1.

    Raises:
        UserError: not (T, W) with T, W >= 1, or a count outside 0..Q.
    """
    hits = np.asarray(hits)
    if hits.ndim != 2 or not hits.size:
        raise UserError(f"hits must be (episodes, ways), got {hits.shape}")
    if hits.min() < 0 or hits.max() > queries:
        raise UserError(f"hits must lie in 0..{queries} (queries per way), found {hits.min()}..{hits.max()}")
    accuracies: np.ndarray = hits.sum(axis=1) / (hits.shape[1] * queries)
    return accuracies


def closed_interval(accuracy_per_episode: np.ndarray) -> tuple[float, float]:
    """Mean accuracy and the field's usual half-width, 1.96 s / sqrt(T).

    "Closed": it speaks of this pool of classes and images only. Episodes drawn with replacement from one
    pool reuse its images, so the half-width shrinks with T for any pool. s has T - 1 in its
    denominator; widely copied code divides s by sqrt(T + 1) instead.

    Args:
        accuracy_per_episode: (T,) fractions, T >= 2.

    Raises:
        UserError: fewer than two episodes.
    """
    return _mean_and_reach(accuracy_per_episode, quantile=1.96)


def open_interval(accuracy_per_task: np.ndarray) -> tuple[float, float]:
    """Mean accuracy and half-width from tasks that share no image (arXiv 2409.02850).

    "Open": such tasks are as independent as tasks from new images, so the interval speaks of images not in
    the pool. A pool serves few of them (tens), hence t with T - 1 degrees of freedom instead of 1.96.

    Args:
        accuracy_per_task: (T,) fractions, T >= 2, of tasks with disjoint images.

    Raises:
        UserError: fewer than two tasks.
    """
    return _mean_and_reach(accuracy_per_task, quantile=None)


def class_jackknife(hits: np.ndarray, classes: np.ndarray, queries: int) -> float | None:
    """Delete-one-class jackknife standard error of the mean accuracy over test classes.

    SE^2 = (C - 1)/C sum_c (th_c - mean(th))^2, th_c = mean accuracy of the episodes without class c. Whole
    episodes are left out, not only the hits of c: a class is also a distractor of the others, so the pool
    without c is seen only where c is absent. Around the mean of th, as in Efron and Stein (1981); for
    all C-choose-W episodes that mean is the plain mean. Chance in the draw of episodes adds about
    s^2/T W (C - 1)/(C - W) to SE^2, small from 10,000 episodes on.

    Args:
        hits: (T, W) integers, correct queries of each way.
        classes: (T, W) class of each way, distinct within an episode.
        queries: Q, queries of each way.

    Returns:
        The standard error as a fraction; None where some class is in every episode (W = C).

    Raises:
        UserError: shapes differ, a count outside 0..Q, or a class twice in one episode.
    """
    accuracy = episode_accuracy(hits, queries)
    if np.shape(classes) != np.shape(hits):
        raise UserError(f"classes {np.shape(classes)} and hits {np.shape(hits)} must have one shape")
    variance = class_variance(accuracy, classes)
    return None if variance is None else float(np.sqrt(variance))


def class_variance(values: np.ndarray, classes: np.ndarray) -> float | None:
    """SE^2 of `class_jackknife`, of the mean of any value per episode.

    Args:
        values: (T,) a value of each episode, such as the influence on a gain.
        classes: (T, W) class of each way, distinct within an episode.

    Returns:
        The squared standard error; None where some class is in every episode (W = C).

    Raises:
        UserError: shapes differ, or a class twice in one episode.
    """
    classes = np.asarray(classes)
    if classes.ndim != 2 or len(classes) != len(values):
        raise UserError(f"classes {classes.shape} must be (T, W), one line for each of {len(values)} values")
    if np.any(np.diff(np.sort(classes, axis=1), axis=1) == 0):
        raise UserError("an episode holds a class twice; its ways must be distinct classes")
    names, member = np.unique(classes, return_inverse=True)
    episodes, ways = classes.shape
    present = np.bincount(member.ravel(), minlength=len(names))
    absent = episodes - present
    if absent.min() == 0:
        return None
    # centred, so that the sum over absent episodes is minus the sum over present ones
    deviation = values - values.mean()
    shift = -np.bincount(member.ravel(), np.repeat(deviation, ways), len(names)) / absent
    return float((len(names) - 1) * shift.var())


def few_shot_metrics(
    hits: np.ndarray,
    classes: np.ndarray,
    queries: int,
    open_hits: np.ndarray | None = None,
    episodes: int | None = None,
) -> FewShotMetrics:
    """All few-shot metrics of one evaluation, ready for JSON.

    Args:
        hits: (T, W) correct queries of each way.
        classes: (T, W) their classes.
        queries: Q, queries of each way, in both kinds of episodes.
        open_hits: (T', W) of tasks that share no image; None or fewer than two rows give no open interval.
        episodes: the first so many are the test episodes, None: all; the others serve the jackknife only.

    Raises:
        UserError: as `episode_accuracy` and `class_jackknife`.
    """
    accuracy = episode_accuracy(hits, queries)[:episodes]
    tasks = 0 if open_hits is None else len(open_hits)
    mean_open = reach_open = None
    if open_hits is not None and tasks >= 2:
        mean_open, reach_open = open_interval(episode_accuracy(open_hits, queries))
    return FewShotMetrics(
        accuracy=float(accuracy.mean()),
        ci95_closed=closed_interval(accuracy)[1] if len(accuracy) >= 2 else None,
        jackknife_se=class_jackknife(hits, classes, queries),
        episodes=len(accuracy),
        accuracy_open=mean_open,
        ci95_open=reach_open,
        open_tasks=tasks,
    )


def _mean_and_reach(accuracies: np.ndarray, quantile: float | None) -> tuple[float, float]:
    """Mean and half-width; by default with the t quantile."""
    values = np.asarray(accuracies, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise UserError(f"an interval needs accuracies (T,) of at least 2 episodes, got {values.shape}")
    factor = float(stdtrit(len(values) - 1, 0.975)) if quantile is None else quantile
    return float(values.mean()), factor * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
