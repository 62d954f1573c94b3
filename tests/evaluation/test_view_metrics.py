import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sla_bench.evaluation.view_metrics import (
    all_agree,
    confused_pairs,
    head_metrics,
    mistaken_views,
    pair_agreement,
    recognised_views,
    view_confusion,
)


def test_agreement_of_four_views_has_five_values():
    classes = np.array([[3, 3, 3, 3], [3, 3, 3, 1], [3, 1, 3, 1], [0, 1, 3, 3], [0, 1, 2, 3]])
    assert pair_agreement(classes).tolist() == pytest.approx([1, 3 / 6, 2 / 6, 1 / 6, 0])
    assert all_agree(classes).tolist() == [True, False, False, False, False]


@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=1, max_dims=3, min_side=2), elements=st.integers(0, 3)))
def test_agreement_is_that_of_all_pairs(classes):
    pairs = itertools.combinations(range(classes.shape[-1]), 2)
    expected = np.mean([classes[..., j] == classes[..., k] for j, k in pairs], axis=0)
    np.testing.assert_allclose(pair_agreement(classes), expected)
    np.testing.assert_array_equal(all_agree(classes), np.isclose(expected, 1))


def test_views_are_confused_row_by_row():
    # Upright and upside down are mixed up half the time; the others never.
    recognised = np.array([[0, 1, 2, 3], [2, 1, 0, 3]])
    assert view_confusion(recognised).tolist() == [
        [0.5, 0, 0.5, 0],
        [0, 1, 0, 0],
        [0.5, 0, 0.5, 0],
        [0, 0, 0, 1],
    ]
    # Seeds are pooled.
    assert view_confusion(np.stack([recognised, recognised])).tolist() == view_confusion(recognised).tolist()


SIX, NINE, ZERO = range(3)


def looks_like(true_views):
    """Joint index of (class, view) pairs of one image, four views."""
    return [cls * 4 + view for cls, view in true_views]


def test_a_six_upside_down_is_a_nine():
    # Every view of every 6 is read as a 9 turned by half a turn more or less, every 0 as what it is.
    joint = np.array(
        [
            looks_like([(NINE, 2), (NINE, 3), (NINE, 0), (NINE, 1)]),
            looks_like([(NINE, 2), (NINE, 3), (NINE, 0), (SIX, 3)]),
            looks_like([(ZERO, 0), (ZERO, 1), (ZERO, 2), (ZERO, 1)]),
        ]
    )
    labels = np.array([SIX, SIX, ZERO])
    (pair,) = confused_pairs(joint, labels, (0, 1, 2, 3), most=5)
    assert (pair.true, pair.predicted, pair.turn) == (SIX, NINE, 2)
    assert pair.share == pair.mistaken == pytest.approx(7 / 8)
    found = mistaken_views(joint, labels)
    # Right class: five views, of which one of the 0 is taken for another; wrong class: seven, all mistaken.
    assert found.class_right == pytest.approx(1 / 5)
    assert found.class_wrong == 1


def test_a_quarter_turn_has_a_direction():
    # A 6 as it is looks like a 9 turned once: turned back once, it looks like a 9.
    joint = np.array([looks_like([(NINE, 1), (SIX, 1), (SIX, 2), (SIX, 3)])])
    (pair,) = confused_pairs(joint, np.array([SIX]), (0, 1, 2, 3), most=1)
    assert pair.turn == 3
    assert (pair.share, pair.mistaken) == (0.25, 0.25)


def test_confusions_with_the_transformation_right_are_not_mistakes():
    joint = np.array([looks_like([(NINE, 0), (NINE, 1), (SIX, 2), (ZERO, 3)])])
    pairs = confused_pairs(joint, np.array([SIX]), (0, 1, 2, 3), most=5)
    assert [(p.predicted, p.share, p.mistaken, p.turn) for p in pairs] == [
        (NINE, 0.5, 0, 0),
        (ZERO, 0.25, 0, 0),
    ]
    assert confused_pairs(joint, np.array([SIX]), (0, 1, 2, 3), most=1) == pairs[:1]


@given(
    hnp.arrays(np.int64, st.tuples(st.integers(1, 3), st.just(6), st.just(2)), elements=st.integers(0, 5)),
    hnp.arrays(np.int64, 6, elements=st.integers(0, 2)),
)
def test_shares_of_pairs_add_up_to_the_errors_of_each_class(joint, labels):
    pairs = confused_pairs(joint, labels, (0, 2), most=100)
    wrong = joint // 2 != labels[:, None]
    for true in np.unique(labels):
        of_class = [pair for pair in pairs if pair.true == true]
        assert sum(p.share for p in of_class) == pytest.approx(wrong[:, labels == true].mean())
        assert all(0 <= p.mistaken <= p.share + 1e-12 and p.predicted != true for p in of_class)
    assert [p.share for p in pairs] == sorted((p.share for p in pairs), reverse=True)


def test_without_errors_nothing_is_confused():
    labels = np.array([0, 1])
    joint = labels[:, None] * 4 + np.arange(4)
    assert confused_pairs(joint, labels, (0, 1, 2, 3), most=5) == []
    assert mistaken_views(joint, labels).class_right == 0
    assert math.isnan(mistaken_views(joint, labels).class_wrong)


def test_metrics_of_a_joint_head_and_of_one_with_a_second_task():
    samples = {
        "labels": np.array([0, 1]),
        "classes/SLA": np.array([[0, 1], [1, 1]]),
        "aggregated/SLA": np.array([0, 0]),
        "joint/SLA": np.array([[0, 1], [2, 0]]),
        "classes/MT": np.array([[0, 0], [1, 1]]),
        "aggregated/MT": np.array([0, 1]),
        "views/MT": np.array([[0, 0], [0, 1]]),
    }
    joint = head_metrics(samples, "SLA")
    assert joint["accuracy_by_view"] == [1, 0.5]
    assert joint["accuracy_by_view_of_all_columns"] == [1, 0.5]
    assert (joint["aggregated_accuracy"], joint["pair_agreement"], joint["all_agree"]) == (0.5, 0.5, 0.5)
    assert joint["view_confusion"] == [[1, 0], [0.5, 0.5]]
    second = head_metrics(samples, "MT")
    assert second["view_confusion"] == [[1, 0], [0.5, 0.5]]
    assert "accuracy_by_view_of_all_columns" not in second
    assert recognised_views({"labels": samples["labels"]}, "DA") is None
