"""Accuracy over a fixed test set: overall, by class, by group; calibration."""

# All metrics start from three numbers per test image, so that a record keeps (T,) arrays and never logits
# (T, N). Accuracies are fractions 0..1.

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from sla_bench.errors import NotFiniteError, UserError
from sla_bench.evaluation.episode_metrics import closed_interval

CALIBRATION_BINS = 15


class ClassificationMetrics(TypedDict):
    """The result of `classification_metrics`; plain numbers, ready for JSON.

    `ci95_closed` is the half-width of the accuracy's interval for this one trained model: it covers the draw
    of test images only. `recalls` has one value per class, None for a class without a test image; such
    classes are not in `macro_f1` and `g_mean`. `group_accuracy` is None for a group without a test image;
    `nll` is in nats.
    """

    accuracy: float
    ci95_closed: float
    recalls: list[float | None]
    macro_f1: float
    g_mean: float
    nll: float
    ece: float
    group_accuracy: dict[str, float | None]
    test_images: int


def predictions_of(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reduce logits to a record's three numbers per test image; in float64, stable for big logits.

    Images are independent, so a large test set may be reduced batch by batch.

    Args:
        logits: (T, N) finite real numbers; softmax over N gives the probabilities.
        labels: (T,) integers, true classes 0..N-1.

    Returns:
        predictions (T,) int64, class of the largest logit, the lowest index among equals; confidence (T,),
        its probability in [1/N, 1]; nll (T,), -log of the true class's probability, >= 0.

    Raises:
        UserError: wrong shapes, a label outside 0..N-1.
        NotFiniteError: NaN or infinity among the logits.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or not logits.size:
        raise UserError(f"logits must be (images, classes), got {logits.shape}")
    if not np.isfinite(logits).all():
        raise NotFiniteError("logits must be finite; the model that gave them has diverged")
    labels = _class_indices("labels", labels, len(logits), logits.shape[1])
    predictions = logits.argmax(axis=1)
    # the largest becomes 0: its exponential is 1, the others' cannot overflow
    logits = logits - np.take_along_axis(logits, predictions[:, None], axis=1)
    total = np.exp(logits).sum(axis=1)
    nll = np.log(total) - np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return predictions, 1 / total, nll


def recorded(values: np.ndarray) -> np.ndarray:
    """Round confidences or -log p to a record's float16, in which finite values stay finite.

    A record keeps -log p of the true class and not p: a p below 3e-8 is 0 in float16, its log infinite.
    A -log p above 65504, the largest float16, becomes 65504.

    Args:
        values: (T,) real numbers.

    Returns:
        (T,) float16; infinities and NaN are unchanged.
    """
    values = np.asarray(values)
    largest = np.finfo(np.float16).max
    return np.where(np.isfinite(values), np.minimum(values, largest), values).astype(np.float16)


def classification_metrics(
    predictions: np.ndarray,
    confidence: np.ndarray,
    nll: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    group_names: Sequence[str],
) -> ClassificationMetrics:
    """All metrics of one trained model on one test set.

    Accuracy is top-1 over all images. Macro F1 is the plain mean of the classes' F1, 0 for a class that is
    never predicted. The G-mean is the geometric mean over classes of (hits + 1)/(images + 2), Laplace's rule,
    so that one class without a hit does not make it 0. Means over classes are over those with test images.

    Args:
        predictions: (T,) integers 0..N-1, as `predictions_of` returns them, like the next two.
        confidence: (T,) probability of the predicted class, 0..1.
        nll: (T,) negative log-likelihood of the true class in nats.
        labels: (T,) integers 0..N-1, true classes.
        groups: (N,) integers, for each class the index of its group in `group_names`.
        group_names: for instance many, medium, few.

    Raises:
        UserError: wrong shapes, a class or group that does not exist, fewer than two classes, a confidence
            outside 0..1, a negative log-likelihood below 0 or not finite.
    """
    groups = np.asarray(groups)
    if groups.ndim != 1 or len(groups) < 2:
        raise UserError(f"groups must be (classes,) of at least 2 classes, got {groups.shape}")
    groups = _class_indices("groups", groups, len(groups), len(group_names))
    classes, images = len(groups), len(labels)
    labels = _class_indices("labels", labels, images, classes)
    predictions = _class_indices("predictions", predictions, images, classes)
    _check_numbers("confidence", confidence, images, highest=1.0)
    _check_numbers("nll", nll, images, highest=np.finfo(np.float64).max)
    sizes = np.bincount(labels, minlength=classes)
    hit = predictions == labels
    hits = np.bincount(labels[hit], minlength=classes)
    predicted = np.bincount(predictions, minlength=classes)
    group_sizes = np.bincount(groups, sizes, minlength=len(group_names))
    group_hits = np.bincount(groups, hits, minlength=len(group_names))
    tested = sizes > 0
    f1 = 2 * hits[tested] / (predicted + sizes)[tested]
    accuracy, reach = closed_interval(hit.astype(np.float64))
    return ClassificationMetrics(
        accuracy=accuracy,
        ci95_closed=reach,
        recalls=[h / n if n else None for h, n in zip(hits.tolist(), sizes.tolist(), strict=True)],
        macro_f1=float(f1.mean()),
        g_mean=float(np.exp(np.log((hits[tested] + 1) / (sizes[tested] + 2)).mean())),
        nll=float(np.mean(nll, dtype=np.float64)),
        ece=expected_calibration_error(confidence, hit),
        group_accuracy={
            name: float(h / n) if n else None
            for name, h, n in zip(group_names, group_hits, group_sizes, strict=True)
        },
        test_images=images,
    )


def expected_calibration_error(confidence: np.ndarray, hit: np.ndarray) -> float:
    """Mean distance of accuracy and confidence over 15 bins of equal width (Guo et al. 2017, eq. 3).

    ECE = sum_b |B_b|/T |acc(B_b) - conf(B_b)|. Bin b holds the confidences in ((b-1)/15, b/15], the first
    one 0 as well. Edges are rounded to the type of the confidences: 1/15 in float16 lies on its edge.

    Args:
        confidence: (T,) probability of the predicted class, 0..1.
        hit: (T,) True where the prediction is right.

    Returns:
        A fraction 0..1.

    Raises:
        UserError: wrong shapes, or a confidence outside 0..1.
    """
    hit = np.asarray(hit, dtype=bool)
    if hit.ndim != 1 or not len(hit):
        raise UserError(f"hit must be (images,) of at least 1 image, got {hit.shape}")
    confidence = _check_numbers("confidence", confidence, len(hit), highest=1.0)
    edges = (np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS).astype(confidence.dtype)
    bins = np.searchsorted(edges, confidence, side="left")
    excess = np.bincount(bins, hit - confidence.astype(np.float64), minlength=CALIBRATION_BINS)
    return float(np.abs(excess).sum() / len(hit))


def confusion_rates(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Confusion matrix with rows that sum to 1; its diagonal is the recall of each class.

    Args:
        predictions: (T,) integers 0..N-1.
        labels: (T,) integers 0..N-1, true classes.
        num_classes: N.

    Returns:
        (N, N), [true class, predicted class], share of the true class's images; NaN in the row of a class
        without a test image.

    Raises:
        UserError: wrong shapes, or a class that does not exist.
    """
    labels = _class_indices("labels", labels, len(labels), num_classes)
    predictions = _class_indices("predictions", predictions, len(labels), num_classes)
    pairs = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    counts = pairs.reshape(num_classes, num_classes)
    images = counts.sum(axis=1, keepdims=True)
    rates: np.ndarray = np.where(images > 0, counts / np.maximum(images, 1), np.nan)
    return rates


def _class_indices(name: str, values: np.ndarray, length: int, count: int) -> np.ndarray:
    """The values as int64 (T,), or an error."""
    values = np.asarray(values)
    if values.shape != (length,) or not length:
        raise UserError(f"{name} must have shape ({length},) and not be empty, got {values.shape}")
    if not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"{name} must be integers, got {values.dtype}")
    if values.min() < 0 or values.max() >= count:
        raise UserError(f"{name} must lie in 0..{count - 1}, found {values.min()}..{values.max()}")
    return values.astype(np.int64)


def _check_numbers(name: str, values: np.ndarray, length: int, highest: float) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (length,):
        raise UserError(f"{name} must have shape ({length},), one figure per test image, got {values.shape}")
    wrong = ~((values >= 0) & (values <= highest))
    if wrong.any():
        bound = "0..1" if highest == 1 else "0 or above, and finite"
        raise UserError(
            f"{name} must be {bound}; {int(wrong.sum())} of {length} are not, the first is "
            f"{values[wrong][0]} (test image {int(wrong.argmax())})"
        )
    return values
