import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import confusion_matrix, f1_score, log_loss, recall_score

from sla_bench.errors import UserError
from sla_bench.evaluation.class_metrics import (
    classification_metrics,
    confusion_rates,
    expected_calibration_error,
    predictions_of,
    recorded,
)

GROUPS = ("many", "medium", "few")


def made_up(seed, classes=6, images=120):
    """Logits and labels, every class at least once."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.concatenate([np.arange(classes), rng.integers(classes, size=images)]))
    logits = rng.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += 1
    return logits, labels


def metrics_of(logits, labels, groups=None, group_names=("all",)):
    groups = np.zeros(logits.shape[1], int) if groups is None else groups
    return classification_metrics(*predictions_of(logits, labels), labels, groups, group_names)


# twelve images by hand: classes of 5, 4 and 3 images with 4, 1 and 0 hits
LABELS = np.repeat([0, 1, 2], [5, 4, 3])
PREDICTIONS = np.array([0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1])
CONFIDENCE = np.full(12, 0.5)
NLL = np.log(np.arange(1.0, 13.0))


def by_hand(**changes):
    given_ = {
        "predictions": PREDICTIONS,
        "confidence": CONFIDENCE,
        "nll": NLL,
        "labels": LABELS,
        "groups": np.array([0, 2, 2]),
        "group_names": GROUPS,
    }
    return classification_metrics(**(given_ | changes))


def test_all_figures_by_hand():
    metrics = by_hand()
    assert metrics["accuracy"] == pytest.approx(5 / 12)
    assert metrics["ci95_closed"] == pytest.approx(1.96 * math.sqrt(5 / 12 * 7 / 12 / 11))
    assert metrics["recalls"] == pytest.approx([4 / 5, 1 / 4, 0])
    # predicted 9, 3 and 0 times: F1 = 2 hits/(predicted + images)
    assert metrics["macro_f1"] == pytest.approx((8 / 14 + 2 / 7 + 0) / 3)
    assert metrics["g_mean"] == pytest.approx((5 / 7 * 2 / 6 * 1 / 5) ** (1 / 3))
    assert metrics["nll"] == pytest.approx(math.log(math.factorial(12)) / 12)
    assert metrics["ece"] == pytest.approx(abs(5 / 12 - 0.5))
    assert metrics["group_accuracy"] == {"many": pytest.approx(4 / 5), "medium": None, "few": 1 / 7}
    assert metrics["test_images"] == 12


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 9), images=st.integers(0, 60))
def test_figures_are_scikit_learns(seed, classes, images):
    logits, labels = made_up(seed, classes, images)
    predictions, confidence, nll = predictions_of(logits, labels)
    metrics = metrics_of(logits, labels)
    assert metrics["macro_f1"] == pytest.approx(
        f1_score(labels, predictions, average="macro", zero_division=0)
    )
    assert metrics["recalls"] == pytest.approx(recall_score(labels, predictions, average=None))
    assert metrics["nll"] == pytest.approx(log_loss(labels, softmax(logits, axis=1), labels=range(classes)))
    assert confusion_rates(predictions, labels, classes) == pytest.approx(
        confusion_matrix(labels, predictions, labels=range(classes), normalize="true")
    )
    assert confidence == pytest.approx(softmax(logits, axis=1).max(axis=1))
    assert nll == pytest.approx(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels])


@given(labels=st.permutations([0, 1, 2, 2, 1, 0, 2, 2]), certainty=st.sampled_from([30.0, 300.0, 1e4, 1e300]))
def test_perfect_predictions(labels, certainty):
    labels = np.array(labels)
    metrics = metrics_of(certainty * np.eye(3)[labels], labels)
    assert (metrics["accuracy"], metrics["macro_f1"], metrics["ci95_closed"]) == (1, 1, 0)
    assert metrics["recalls"] == [1, 1, 1]
    assert (metrics["ece"], metrics["nll"]) == pytest.approx((0, 0), abs=1e-12)
    # 2, 2 and 4 images: Laplace's rule keeps it below 1
    assert metrics["g_mean"] == pytest.approx((3 / 4 * 3 / 4 * 5 / 6) ** (1 / 3))


@given(
    places=st.lists(st.integers(0, 10**6), min_size=1, max_size=40),
    kind=st.sampled_from(["f2", "f4", "f8"]),
    seed=st.integers(0, 99),
)
def test_calibration_error_is_its_definition_bin_by_bin(places, kind, seed):
    confidence = (np.array(places) / 10**6).astype(kind)
    hit = np.random.default_rng(seed).random(len(places)) < 0.5
    edges = [np.dtype(kind).type(b / 15) for b in range(16)]
    expected = 0.0
    for b in range(15):
        inside = [
            (float(c), bool(h))
            for c, h in zip(confidence, hit, strict=True)
            if edges[b] < c <= edges[b + 1] or (b == 0 and c == 0)
        ]
        expected += abs(sum(h - c for c, h in inside)) / len(hit)
    assert expected_calibration_error(confidence, hit) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
@pytest.mark.parametrize("number", range(1, 15))
def test_the_values_beside_an_edge_are_of_two_bins(kind, number):
    edge = np.array(number / 15, kind)
    below, above = (np.nextafter(edge, np.array(end, kind)) for end in (0, 1))
    one_bin, two_bins = np.array([edge, below]), np.array([edge, above])
    hit = np.array([True, False])
    # in one bin the two errors cancel, in two they add up
    assert expected_calibration_error(one_bin, hit) == abs(1 - float(edge) - float(below)) / 2
    assert expected_calibration_error(two_bins, hit) == (1 - float(edge) + float(above)) / 2


@given(
    values=st.lists(st.floats(0, allow_infinity=False, width=32), min_size=1),
    kind=st.sampled_from(["f2", "f4", "f8"]),
)
def test_what_is_recorded_is_the_nearest_finite_number_of_16_bits(values, kind):
    with np.errstate(over="ignore"):
        values = np.array(values, kind)
    values = values[np.isfinite(values)]
    found = recorded(values)
    assert found.dtype == np.float16
    assert np.isfinite(found).all()
    nearest = np.minimum(values.astype(float), 65504)
    # half of the spacing of these numbers, which is the same below the smallest normal one
    assert (np.abs(found.astype(float) - nearest) <= np.maximum(nearest * 2.0**-11, 2.0**-25)).all()
    assert np.array_equal(recorded(found), found)


def test_what_is_not_finite_stays_so_when_it_is_recorded():
    found = recorded(np.array([np.inf, np.nan, 65504.0, 65520.0, 1e300, 1e-9]))
    np.testing.assert_array_equal(found, np.array([np.inf, np.nan, 65504, 65504, 65504, 0], np.float16))


def test_big_logits_neither_overflow_nor_lose_the_improbable_class():
    logits = np.array([[1e4, 0.0, -1e4], [-1e300, 1e300, 0.0]], dtype=np.float64)
    predictions, confidence, nll = predictions_of(logits, np.array([2, 1]))
    assert predictions.tolist() == [0, 1]
    assert confidence.tolist() == [1, 1]
    assert nll.tolist() == [2e4, 0]


def test_equal_logits_give_the_lowest_class_and_integers_do():
    predictions, confidence, nll = predictions_of(np.array([[0, 3, 3], [2, 2, 2]]), np.array([2, 0]))
    assert predictions.tolist() == [1, 0]
    assert confidence == pytest.approx([1 / (2 + math.exp(-3)), 1 / 3])
    assert nll == pytest.approx(-np.log(confidence))


def test_half_precision_logits_are_computed_in_double():
    logits = np.array([[0.0, 12.0]], dtype=np.float16)
    _, confidence, nll = predictions_of(logits, np.array([1]))
    assert confidence.dtype == nll.dtype == np.float64
    assert nll == pytest.approx([math.log1p(math.exp(-12))], rel=1e-10)


def test_metrics_are_json():
    metrics = by_hand(nll=NLL.astype(np.float32), confidence=CONFIDENCE.astype(np.float32))
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_group_accuracies_weigh_up_to_the_accuracy_on_a_balanced_test_set():
    labels = np.tile(np.arange(6), 30)
    logits = np.random.default_rng(4).normal(size=(180, 6))
    by_group = metrics_of(logits, labels, np.array([0, 1, 1, 2, 2, 2]), GROUPS)["group_accuracy"]
    whole = metrics_of(logits, labels)
    assert sum(by_group[g] * n for g, n in zip(GROUPS, (1, 2, 3), strict=True)) / 6 == pytest.approx(
        whole["accuracy"]
    )
    assert whole["group_accuracy"] == {"all": pytest.approx(np.mean(whole["recalls"]))}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"predictions": PREDICTIONS[:-1]}, r"predictions must have shape \(12,\)"),
        ({"predictions": PREDICTIONS.astype(float)}, "predictions must be integers"),
        ({"predictions": PREDICTIONS + 3}, r"predictions must lie in 0\.\.2, found 3\.\.4"),
        ({"labels": LABELS[:0]}, "empty"),
        ({"confidence": np.where(LABELS == 2, 1.5, 0.5)}, r"3 of 12 are not, the first is 1.5 .*image 9"),
        ({"nll": np.where(LABELS == 1, np.inf, 1.0)}, r"nll must be 0 or above, and finite; 4 of 12"),
        ({"groups": np.array([0, 2, 3])}, r"groups must lie in 0\.\.2, found 0\.\.3"),
        ({"groups": np.array([0])}, "at least 2 classes"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(UserError, match=words):
        by_hand(**changes)


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (np.zeros(3), [0], "images, classes"),
        (np.zeros((0, 3)), [], "images, classes"),
        (np.zeros((2, 3)), [0], r"shape \(2,\)"),
        (np.zeros((2, 3)), [0, 3], r"0\.\.2"),
        (np.array([[0, np.inf]]), [0], "finite"),
        (np.array([[0, np.nan]]), [0], "finite"),
    ],
)
def test_logits_that_cannot_be_are_refused(logits, labels, words):
    with pytest.raises(UserError, match=words):
        predictions_of(logits, np.array(labels, dtype=int))


def test_a_class_without_a_test_image_is_in_no_mean():
    logits, labels = made_up(3, classes=5)
    kept = labels != 2
    logits, labels = logits[kept], labels[kept]
    logits[0] = np.arange(5) == 2
    predictions = logits.argmax(1)
    others = [0, 1, 3, 4]
    metrics = metrics_of(logits, labels, np.array([0, 0, 1, 2, 2]), GROUPS)
    assert metrics["recalls"][2] is None
    tested = [metrics["recalls"][c] for c in others]
    assert tested == pytest.approx(recall_score(labels, predictions, labels=others, average=None))
    assert metrics["macro_f1"] == pytest.approx(f1_score(labels, predictions, labels=others, average="macro"))
    sizes = np.bincount(labels)[others]
    rates = (np.array(tested) * sizes + 1) / (sizes + 2)
    assert metrics["g_mean"] == pytest.approx(np.prod(rates) ** (1 / 4))
    assert metrics["group_accuracy"]["medium"] is None
    json.dumps(metrics, allow_nan=False)
    rates = confusion_rates(predictions, labels, 5)
    assert np.isnan(rates[2]).all()
    assert np.allclose(rates[others].sum(1), 1)
