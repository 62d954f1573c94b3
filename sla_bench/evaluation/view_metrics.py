"""Metrics of predictions on every view: agreement, mistaken views."""

# Shapes: T test images, M views, N classes; the leading axes of an array may be any. A joint prediction is
# the index i*M + j of class i under transformation j, as in `sla_bench.objectives.scores`.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class ConfusedPair(NamedTuple):
    """A class that is read as another.

    Args:
        true: the class.
        predicted: the class read instead.
        share: of the views of the images of `true`, 0..1.
        mistaken: the part of `share` in which the transformation is another than the view's own.
        turn: counter-clockwise quarter turns, 0..3, that most often make `true` look like `predicted`.
    """

    true: int
    predicted: int
    share: float
    mistaken: float
    turn: int


class MistakenViews(NamedTuple):
    """How often the transformation of a view is mistaken, 0..1; NaN where no view is read so.

    Args:
        class_right: of the views that are read as the right class.
        class_wrong: of the views that are read as a wrong class.
    """

    class_right: float
    class_wrong: float


def pair_agreement(classes: np.ndarray) -> np.ndarray:
    """Share of the M(M-1)/2 pairs of views that are read as the same class: (..., M) -> (...), 0..1."""
    views = classes.shape[-1]
    # Views of equal class stand together after sorting: a run of n of them holds n(n-1)/2 pairs.
    ordered = np.sort(classes, axis=-1)
    run = np.zeros(classes.shape[:-1], np.int64)
    pairs = np.zeros(classes.shape[:-1], np.int64)
    for j in range(1, views):
        run = np.where(ordered[..., j] == ordered[..., j - 1], run + 1, 0)
        pairs += run
    shares: np.ndarray = pairs / (views * (views - 1) / 2)
    return shares


def all_agree(classes: np.ndarray) -> np.ndarray:
    """Whether all views are read as one class: (..., M) -> bool (...)."""
    same: np.ndarray = (classes == classes[..., :1]).all(-1)
    return same


def view_confusion(recognised: np.ndarray) -> np.ndarray:
    """How often view j is taken for view k, (M, M) whose rows sum to 1.

    Args:
        recognised: (..., M), which view each was taken for.
    """
    views = recognised.shape[-1]
    flat = recognised.reshape(-1, views).astype(np.int64)
    counts = np.bincount((np.arange(views) * views + flat).ravel(), minlength=views * views)
    rates: np.ndarray = counts.reshape(views, views) / len(flat)
    return rates


def mistaken_views(joint: np.ndarray, labels: np.ndarray) -> MistakenViews:
    """Compare how often the transformation is mistaken where the class is right and where it is wrong.

    Args:
        joint: (..., T, M) joint predictions.
        labels: (T,) true classes.
    """
    classes, views = np.divmod(joint, joint.shape[-1])
    mistaken = views != np.arange(joint.shape[-1])
    right = classes == labels[:, None]

    def share(of: np.ndarray) -> float:
        return float(mistaken[of].mean()) if of.any() else float("nan")

    return MistakenViews(share(right), share(~right))


def confused_pairs(
    joint: np.ndarray, labels: np.ndarray, turns: Sequence[int], most: int
) -> list[ConfusedPair]:
    """The ordered pairs of classes that are confused most often, most frequent first.

    View j of an image of class i that is read as class c under transformation k says: i turned by
    turns[j] - turns[k] looks like c.

    Args:
        joint: (..., T, M) joint predictions.
        labels: (T,) true classes.
        turns: (M,) quarter turns of each view.
        most: the largest number of pairs.
    """
    views = joint.shape[-1]
    quarter = np.asarray(turns)
    predicted, taken = np.divmod(joint.reshape(-1, len(labels), views), views)
    true = np.broadcast_to(labels[:, None], predicted.shape)
    own = np.broadcast_to(np.arange(views), predicted.shape)
    wrong = predicted != true
    pairs = np.stack([true[wrong], predicted[wrong]], axis=1)
    mistaken, turn = (taken != own)[wrong], ((quarter[own] - quarter[taken]) % 4)[wrong]
    found, which, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    which = which.ravel()
    by_turn = np.zeros((len(found), 4), np.int64)
    np.add.at(by_turn, (which, turn), 1)
    mistakes = np.bincount(which, mistaken, minlength=len(found))
    sizes = np.bincount(labels) * views * len(predicted)
    shares = counts / sizes[found[:, 0]]
    order = np.argsort(-shares, kind="stable")[:most]
    return [
        ConfusedPair(
            int(found[p, 0]),
            int(found[p, 1]),
            float(shares[p]),
            float(mistakes[p] / sizes[found[p, 0]]),
            int(by_turn[p].argmax()),
        )
        for p in order
    ]


def head_metrics(samples: Mapping[str, np.ndarray], head: str) -> dict[str, Any]:
    """The metrics of one head of one model, shares 0..1.

    Args:
        samples: `labels` (T,); `classes/<head>` (T, M), the class of each view, of a joint head by the
            columns of the view's own transformation; `aggregated/<head>` (T,), the class of the mean over
            the views; of a joint head `joint/<head>` (T, M); where the view is told `views/<head>` (T, M).
        head: its name.
    """
    labels, classes = samples["labels"], samples[f"classes/{head}"]
    metrics: dict[str, Any] = {
        "accuracy_by_view": (classes == labels[:, None]).mean(0).tolist(),
        "aggregated_accuracy": float((samples[f"aggregated/{head}"] == labels).mean()),
        "pair_agreement": float(pair_agreement(classes).mean()),
        "all_agree": float(all_agree(classes).mean()),
    }
    if (joint := samples.get(f"joint/{head}")) is not None:
        metrics["accuracy_by_view_of_all_columns"] = (
            (joint // joint.shape[1] == labels[:, None]).mean(0).tolist()
        )
    if (views := recognised_views(samples, head)) is not None:
        metrics["view_confusion"] = view_confusion(views).tolist()
    return metrics


def recognised_views(samples: Mapping[str, np.ndarray], head: str) -> np.ndarray | None:
    """The recognised view of each view, (T, M), by a joint head or a view classifier; None without both."""
    if (joint := samples.get(f"joint/{head}")) is not None:
        views: np.ndarray = joint % joint.shape[1]
        return views
    return samples.get(f"views/{head}")
