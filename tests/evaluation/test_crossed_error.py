import itertools

import numpy as np
import pytest
from crossed_model import crossed_pair, influence
from hypothesis import given, settings
from hypothesis import strategies as st

from sla_bench.errors import UserError
from sla_bench.evaluation.crossed_error import crossed_error, error_over_classes, seed_error, strata_of
from sla_bench.evaluation.statistics import mean_interval, paired_relative_gain


@given(seed=st.integers(0, 2**32 - 1), seeds=st.integers(2, 6), samples=st.integers(2, 30))
@settings(max_examples=60)
def test_both_parts_are_those_of_the_formulas_pair_of_seeds_by_pair(seed, seeds, samples):
    d = influence(*crossed_pair(np.random.default_rng(seed), seeds, samples))
    pairs = [np.cov(d[a], d[b])[0, 1] for a, b in itertools.combinations(range(seeds), 2)]
    error = crossed_error(d, 0.1)
    assert error.own == pytest.approx(d.mean(axis=1).var(ddof=1) / seeds, rel=1e-9)
    assert error.shared == pytest.approx(max(0.0, np.mean(pairs)) / samples, rel=1e-6, abs=1e-12)
    assert (error.own_freedom, error.shared_freedom) == (seeds - 1, samples - 1)


def test_variance_is_that_of_the_two_way_anova():
    """(MS_seed + MS_sample - MS_rest) / (S T), the textbook's estimate for a balanced crossed design."""
    base, treated = crossed_pair(np.random.default_rng(0), 5, 40)
    d = influence(base, treated)
    seeds, samples = d.shape
    rows, columns = d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True)
    ms_seed = samples * rows.var(ddof=1)
    ms_sample = seeds * columns.var(ddof=1)
    ms_rest = ((d - rows - columns + d.mean()) ** 2).sum() / ((seeds - 1) * (samples - 1))
    assert ms_sample > ms_rest
    expected = (ms_seed + ms_sample - ms_rest) / (seeds * samples)
    assert crossed_error(d, 0.1).standard_error ** 2 == pytest.approx(expected)


def test_seeds_that_agree_by_chance_are_given_the_noise_of_the_test():
    """Equal means of seeds, on other images each: what sampling alone makes of their means stands in."""
    rng = np.random.default_rng(3)
    values = np.stack([rng.permutation(np.repeat([0.0, 1.0], [40, 60])) for _ in range(3)])
    error = crossed_error(values - values.mean(), values.mean())
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    ms_rest = ((values - rows - columns + values.mean()) ** 2).sum() / (2 * 99)
    assert error.own == pytest.approx(ms_rest / 300)
    interval = mean_interval(values)
    assert interval.low < interval.estimate < interval.high


def test_seeds_that_differ_in_nothing_are_one_seed():
    values = np.tile(np.random.default_rng(0).random(30), (4, 1))
    assert crossed_error(values - values.mean(), values.mean()).own == 0
    assert seed_error(np.zeros(3), 0.5).own == seed_error(np.zeros(1), 0.5).own == 0


@pytest.mark.parametrize("centre", [0.0, 100.0, -100.0])
def test_an_error_below_1e_14_of_the_estimate_is_rounding(centre):
    """Two seeds at equal distances of their mean: the standard error is that distance."""
    unit = 1e-14 * max(1, abs(centre))
    for distance, error in ((0.8 * unit, 0), (1.4 * unit, 1.4 * unit)):
        assert seed_error(np.array([-distance, distance]), centre).standard_error == pytest.approx(
            error, rel=1e-6, abs=0
        )


def test_anticorrelated_seeds_do_not_lower_the_variance():
    values = np.array([[0.5, 0.7, 0.6], [0.7, 0.5, 0.65]])
    error = crossed_error(values - values.mean(), 0.6)
    assert error.shared == 0
    assert error.standard_error == pytest.approx(np.std(values.mean(axis=1), ddof=1) / np.sqrt(2))


def test_strata_take_differences_between_classes_out():
    """Images of ten classes of unequal difficulty: only the variation within class is sampling."""
    rng = np.random.default_rng(8)
    strata = rng.permutation(np.repeat(np.arange(10), 30))
    noise = rng.normal(0, 0.05, size=300)
    values = 0.5 + 0.03 * strata + noise + np.array([[-0.1], [0.0], [0.1]])
    within = np.mean([noise[strata == k].var(ddof=1) for k in range(10)])
    error = crossed_error(values - values.mean(), 0.6, strata)
    assert error.shared == pytest.approx(within / 300)
    assert error.shared_freedom == 290
    assert crossed_error(values - values.mean(), 0.6).shared > 1.5 * error.shared


def test_strata_of_unequal_sizes_weigh_by_size():
    rng = np.random.default_rng(9)
    strata = np.repeat(["b", "a"], [10, 40])
    values = rng.random((2, 50))
    shared = sum(
        n / 50 * np.cov(values[0, strata == k], values[1, strata == k])[0, 1]
        for k, n in (("a", 40), ("b", 10))
    )
    own = values.mean(axis=1).var(ddof=1) / 2
    expected = own + max(0.0, shared) / 50
    assert mean_interval(values, strata=strata).standard_error ** 2 == pytest.approx(expected)


def test_two_images_of_a_class_are_enough():
    values = np.array([[0.5, 0.7, 0.2, 0.3], [0.6, 0.8, 0.3, 0.4]])
    within = (np.var([0.5, 0.7], ddof=1) + np.var([0.2, 0.3], ddof=1)) / 2
    error = crossed_error(values - values.mean(), 0.5, [0, 0, 1, 1])
    assert error.shared == pytest.approx(within / 4)
    assert error.shared_freedom == 2


def test_one_stratum_is_no_stratum():
    base, treated = crossed_pair(np.random.default_rng(10), 3, 30)
    assert paired_relative_gain(base, treated, strata=np.zeros(30)) == paired_relative_gain(base, treated)


def test_strata_that_cannot_serve_are_refused():
    with pytest.raises(UserError, match="one class for each of 4"):
        mean_interval(np.full((2, 4), 0.5), strata=[0, 1, 1])
    with pytest.raises(UserError, match="class 7 has 1 test image"):
        mean_interval(np.full((2, 4), 0.5), strata=[0, 0, 0, 7])


def test_images_are_drawn_within_classes_unless_one_has_a_single_image():
    assert strata_of([0, 1, 1, 0]).tolist() == [0, 1, 1, 0]
    assert strata_of([0, 1, 1, 0, 7]) is None


def all_episodes(classes, ways):
    return np.array(list(itertools.combinations(range(classes), ways)))


def test_the_variance_over_classes_is_the_delete_one_class_jackknife():
    """Every episode that the classes allow, of values that are means over classes: nothing is chance."""
    rng = np.random.default_rng(5)
    episodes = all_episodes(8, 3)
    effects = rng.normal(0, 0.1, 8)
    values = effects[episodes].mean(axis=1) + np.array([[-0.02], [0.0], [0.02]])
    left_out = [values[:, (episodes != c).all(axis=1)].mean() for c in range(8)]
    jackknife = 7 / 8 * np.sum((left_out - np.mean(left_out)) ** 2)
    error = crossed_error(values - values.mean(), values.mean())
    wider = error_over_classes(error, values - values.mean(), episodes)
    assert wider.shared == pytest.approx(jackknife)
    assert (wider.own, wider.own_freedom, wider.shared_freedom) == (error.own, 2, 7)
    assert wider.shared > error.shared


def test_the_variance_over_classes_is_no_less_than_that_over_episodes():
    rng = np.random.default_rng(6)
    episodes = np.argsort(rng.random((40, 20)), axis=1)[:, :5]
    values = rng.random(40) + rng.normal(0, 0.01, (3, 1))
    error = crossed_error(values - values.mean(), 0.5)
    assert error_over_classes(error, values - values.mean(), episodes).shared >= error.shared


def test_a_class_in_every_episode_leaves_nothing_to_delete():
    values = np.random.default_rng(7).random((2, 6))
    error = crossed_error(values, 0.5)
    assert error_over_classes(error, values, np.tile(np.arange(3), (6, 1))) is None
    with pytest.raises(UserError, match="twice"):
        error_over_classes(error, values, np.zeros((6, 3)))
