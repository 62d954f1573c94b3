import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sla_bench.errors import UserError
from sla_bench.evaluation.episode_metrics import (
    class_jackknife,
    closed_interval,
    episode_accuracy,
    few_shot_metrics,
    open_interval,
)


def draw_episodes(rng, classes=8, ways=3, queries=5, episodes=60):
    drawn = rng.permuted(np.tile(np.arange(classes), (episodes, 1)), axis=1)[:, :ways]
    return rng.integers(0, queries + 1, size=(episodes, ways)), drawn


def jackknife_by_hand(hits, classes, queries):
    """The definition, class by class."""
    names = sorted({c for row in classes.tolist() for c in row})
    without = []
    for name in names:
        kept = [
            sum(h) / (len(h) * queries)
            for h, c in zip(hits.tolist(), classes.tolist(), strict=True)
            if name not in c
        ]
        without.append(sum(kept) / len(kept))
    centre = sum(without) / len(without)
    return ((len(names) - 1) / len(names) * sum((w - centre) ** 2 for w in without)) ** 0.5


def test_episode_accuracy_counts_all_ways():
    assert episode_accuracy(np.array([[5, 0, 1], [5, 5, 5]]), queries=5) == pytest.approx([6 / 15, 1.0])


def test_closed_interval_is_the_usual_one():
    mean, reach = closed_interval(np.array([0.2, 0.4, 0.6, 0.8]))
    assert mean == pytest.approx(0.5)
    assert reach == pytest.approx(1.96 * np.sqrt(0.2 / 3) / 2)


def test_open_interval_is_scipys_t_interval():
    tasks = np.random.default_rng(0).random(12)
    mean, reach = open_interval(tasks)
    low, high = stats.ttest_1samp(tasks, 0).confidence_interval(0.95)
    assert (mean - reach, mean + reach) == pytest.approx((low, high))


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(4, 9), ways=st.integers(1, 3))
def test_jackknife_is_its_definition(seed, classes, ways):
    hits, drawn = draw_episodes(np.random.default_rng(seed), classes, ways)
    assert class_jackknife(hits, drawn, 5) == pytest.approx(jackknife_by_hand(hits, drawn, 5), rel=1e-9)


def test_jackknife_of_additive_classes_over_all_episodes():
    """All C-choose-W episodes of classes with fixed hits: again the error of a mean of C class figures."""
    per_class = np.array([1, 3, 4, 4, 6, 9])
    drawn = np.array(list(itertools.combinations(range(6), 3)))
    expected = (per_class / 10).std(ddof=1) / np.sqrt(6)
    assert class_jackknife(per_class[drawn], drawn, 10) == pytest.approx(expected)


def test_jackknife_covers_new_classes_where_the_closed_interval_does_not():
    """Pools of classes of unequal difficulty: the error over pools is the jackknife's, not the closed one."""
    rng = np.random.default_rng(3)
    means, errors, reaches = [], [], []
    for _ in range(150):
        difficulty = np.clip(rng.normal(0.6, 0.1, size=16), 0, 1)
        drawn = rng.random((4000, 16)).argsort(axis=1)[:, :5]
        metrics = few_shot_metrics(rng.binomial(15, difficulty[drawn]), drawn, 15)
        means.append(metrics["accuracy"])
        errors.append(metrics["jackknife_se"])
        reaches.append(metrics["ci95_closed"])
    spread = np.std(means, ddof=1)
    assert np.mean(errors) == pytest.approx(spread, rel=0.2)
    assert np.mean(reaches) / 1.96 < 0.2 * spread


def test_jackknife_is_undefined_when_every_class_is_in_every_episode():
    hits, drawn = draw_episodes(np.random.default_rng(4), classes=3, ways=3)
    assert class_jackknife(hits, drawn, 5) is None
    assert few_shot_metrics(hits, drawn, 5)["jackknife_se"] is None


def test_metrics_are_json_and_agree_with_their_parts():
    rng = np.random.default_rng(5)
    hits, drawn = draw_episodes(rng)
    open_hits = rng.integers(0, 6, size=(9, 3))
    metrics = few_shot_metrics(hits, drawn, 5, open_hits)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert (metrics["accuracy"], metrics["ci95_closed"]) == pytest.approx(
        closed_interval(hits.mean(axis=1) / 5)
    )
    assert (metrics["accuracy_open"], metrics["ci95_open"]) == pytest.approx(
        open_interval(open_hits.mean(axis=1) / 5)
    )
    assert (metrics["episodes"], metrics["open_tasks"]) == (60, 9)


@pytest.mark.parametrize("open_hits", [None, np.empty((0, 3), dtype=int), np.array([[1, 2, 3]])])
def test_too_few_disjoint_tasks_give_no_open_interval(open_hits):
    hits, drawn = draw_episodes(np.random.default_rng(6))
    metrics = few_shot_metrics(hits, drawn, 5, open_hits)
    assert metrics["ci95_open"] is None
    assert metrics["accuracy_open"] is None
    assert metrics["open_tasks"] == (0 if open_hits is None else len(open_hits))


def test_a_single_episode_has_no_interval():
    metrics = few_shot_metrics(np.array([[1, 2]]), np.array([[0, 1]]), 5)
    assert metrics["ci95_closed"] is None
    assert metrics["accuracy"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("hits", "classes", "words"),
    [
        ([[1, 6]], [[0, 1]], "0..5"),
        ([[1, -1]], [[0, 1]], "0..5"),
        ([1, 2], [0, 1], "episodes, ways"),
        ([[1, 2]], [[0, 1, 2]], "one shape"),
        ([[1, 2]], [[3, 3]], "twice"),
    ],
)
def test_what_cannot_be_is_refused(hits, classes, words):
    with pytest.raises(UserError, match=words):
        class_jackknife(np.array(hits), np.array(classes), 5)


def test_intervals_need_two_episodes():
    for interval in (closed_interval, open_interval):
        with pytest.raises(UserError, match="at least 2"):
            interval(np.array([0.5]))
