import numpy as np
import pytest
from crossed_model import crossed_pair, influence
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit

from sla_bench.errors import UserError
from sla_bench.evaluation.crossed_error import crossed_error
from sla_bench.evaluation.statistics import (
    mean_interval,
    mean_over_seeds,
    paired_gain_over_seeds,
    paired_relative_gain,
)


@given(seed=st.integers(0, 2**32 - 1), seeds=st.integers(2, 6), samples=st.integers(2, 30))
@settings(max_examples=60)
def test_the_interval_of_a_gain_is_that_of_the_log_of_the_ratio(seed, seeds, samples):
    base, treated = crossed_pair(np.random.default_rng(seed), seeds, samples)
    gain = paired_relative_gain(base, treated)
    ratio = treated.mean() / base.mean()
    of_log = crossed_error(treated / treated.mean() - base / base.mean(), 0.0)
    ends = np.exp(np.log(ratio) + np.array([-1, 1]) * of_log.reach()) - 1
    assert gain.estimate == pytest.approx(ratio - 1)
    assert (gain.low, gain.high) == pytest.approx(tuple(ends), rel=1e-6, abs=1e-9)
    assert gain.p_value == pytest.approx(of_log.p_value(np.log(ratio)), rel=1e-6)
    assert gain.standard_error == pytest.approx(ratio * of_log.standard_error, rel=1e-6)
    assert (gain.seeds, gain.samples, gain.interval_kind) == (seeds, samples, "crossed")


def test_without_sample_effect_it_is_the_t_test_over_seeds():
    base = np.full((6, 20), 0.5)
    treated = np.repeat(np.random.default_rng(1).normal(0.55, 0.03, size=(6, 1)), 20, axis=1)
    gain = paired_relative_gain(base, treated)
    shares = treated[:, 0] / treated.mean()
    test = stats.ttest_1samp(shares + np.log(treated.mean() / 0.5) - 1, 0)
    interval = test.confidence_interval(0.95)
    assert gain.p_value == pytest.approx(test.pvalue)
    assert (gain.low, gain.high) == pytest.approx((np.expm1(interval.low), np.expm1(interval.high)))


def test_no_gain_is_below_minus_100_percent():
    """A method that hardly learns, three seeds: the symmetric interval would end at -123 %."""
    base, treated = np.full((3, 50), 0.6), np.zeros((3, 50))
    treated[0, :6] = treated[1, 6] = treated[2, :2] = 1
    gain = paired_relative_gain(base, treated)
    assert -1 < gain.low < gain.estimate < gain.high
    error = crossed_error(influence(base, treated), gain.estimate)
    assert gain.estimate - error.reach() < -1


def test_a_method_that_is_never_right_loses_everything_without_an_interval():
    gain = paired_relative_gain(np.full((3, 4), 0.5), np.zeros((3, 4)))
    assert gain.estimate == -1
    assert np.isnan([gain.low, gain.high, gain.p_value]).all()


def test_one_seed_is_an_estimate_alone():
    rng = np.random.default_rng(3)
    base, treated = crossed_pair(rng, 1, 30)
    gain = paired_relative_gain(base, treated)
    assert gain.estimate == pytest.approx(treated.mean() / base.mean() - 1)
    assert np.isnan([gain.low, gain.high, gain.standard_error, gain.p_value, gain.p_sign_flip]).all()
    assert np.isnan(gain.smallest_p)
    assert gain.interval_kind == mean_interval(rng.random(30)).interval_kind == "one seed"
    assert np.isnan([mean_interval(rng.random(30)).low, mean_over_seeds([0.5]).high]).all()


def test_one_row_is_one_seed():
    base, treated = crossed_pair(np.random.default_rng(3), 1, 30)
    for whole, flat in zip(
        vars(paired_relative_gain(base, treated)).values(),
        vars(paired_relative_gain(base[0], treated[0])).values(),
        strict=True,
    ):
        assert whole == flat or (np.isnan(whole) and np.isnan(flat))


def test_points_and_errors():
    gain = paired_relative_gain(np.full((2, 4), 0.8), np.full((2, 4), 0.9))
    assert gain.estimate == pytest.approx(0.125)
    assert gain.gain_points == pytest.approx(10)
    assert gain.error_reduction_pct == pytest.approx(50)
    perfect = paired_relative_gain(np.ones((2, 4)), np.full((2, 4), 0.9))
    assert np.isnan(perfect.error_reduction_pct)


@pytest.mark.parametrize("seeds", [4, 17])
def test_where_nothing_varies_there_is_no_interval_and_no_p(seeds):
    base, _ = crossed_pair(np.random.default_rng(4), seeds, 25)
    same = paired_relative_gain(base, base)
    constant = paired_relative_gain(np.full((seeds, 8), 0.5), np.full((seeds, 8), 0.75))
    assert (same.estimate, constant.estimate) == (0, 0.5)
    for gain in (same, constant):
        assert np.isnan([gain.low, gain.high, gain.p_value]).all()
    assert same.p_sign_flip == 1
    assert constant.p_sign_flip <= 2 * constant.smallest_p


def test_two_seeds_of_one_value_have_no_interval():
    assert np.isnan(
        [mean_over_seeds([0.4, 0.4]).low, paired_gain_over_seeds([0.5, 0.5], [0.6, 0.6]).p_value]
    ).all()


def test_two_seeds_of_one_value_are_not_sure_of_a_gain():
    """Both are right on 60 of 100 images, not on the same ones: chance made them equal."""
    base = np.tile(np.repeat([1.0, 0.0], 50), (2, 1))
    treated = np.stack([np.repeat([1.0, 0.0], [60, 40]), np.repeat([0.0, 1.0, 0.0], [10, 60, 30])])
    gain = paired_relative_gain(base, treated)
    assert gain.estimate == pytest.approx(0.2)
    assert gain.p_value > 0.01
    assert gain.low < 0.2 < gain.high


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_the_interval_of_a_share_is_that_of_its_logit(seed, seeds):
    rng = np.random.default_rng(seed)
    values = np.clip(crossed_pair(rng, seeds, 50)[0], 0, 1)
    mean = values.mean()
    error = crossed_error(values - mean, mean)
    expected = expit(logit(mean) + np.array([-1, 1]) * error.reach() / (mean * (1 - mean)))
    interval = mean_interval(values)
    assert interval.estimate == pytest.approx(mean)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))
    assert interval.standard_error == pytest.approx(error.standard_error)
    plain = mean_interval(values, share=False)
    assert (plain.low, plain.high) == pytest.approx((mean - error.reach(), mean + error.reach()))


def test_shares_outside_0_to_1_are_refused():
    for refused in (lambda: mean_over_seeds([0.5, 1.2]), lambda: mean_interval([[0.5, -0.1]])):
        with pytest.raises(UserError, match=r"0\.\.1"):
            refused()


def test_gains_on_other_classes_are_less_sure():
    rng = np.random.default_rng(2)
    episodes = np.argsort(rng.random((300, 12)), axis=1)[:, :4]
    base, treated = crossed_pair(rng, 3, 300, sample_sd=0.01, rest_sd=0.01)
    treated = treated + rng.normal(0, 0.1, 12)[episodes].mean(axis=1)
    gain = paired_relative_gain(base, treated, classes=episodes)
    assert gain.classes_low < gain.low < gain.high < gain.classes_high
    alone = paired_relative_gain(base[0], treated[0], classes=episodes)
    assert np.isnan([alone.classes_low, alone.classes_high]).all()
    assert alone.classes_error == pytest.approx(gain.classes_error, rel=0.3)
    assert np.isnan(paired_relative_gain(base, treated).classes_error)


@pytest.mark.parametrize(
    ("base", "treated", "words"),
    [
        (np.full((2, 3), 0.5), np.full((2, 4), 0.5), "one shape"),
        (np.full((2, 3), 0.5), np.full((3, 3), 0.5), "one shape"),
        (np.zeros((2, 3)), np.full((2, 3), 0.5), "above 0"),
        (np.array([[0.5, np.nan]]), np.full((1, 2), 0.5), "1 values not finite"),
        (np.full((1, 2), 0.5), np.array([[0.5, np.inf]]), "treated accuracies hold 1"),
        (np.full((2, 1), 0.5), np.full((2, 1), 0.5), "at least 2 samples"),
        (np.empty((0, 5)), np.empty((0, 5)), "seeds, samples"),
        (np.full((2, 2, 2), 0.5), np.full((2, 2, 2), 0.5), "seeds, samples"),
    ],
)
def test_what_cannot_be_compared_is_refused(base, treated, words):
    with pytest.raises(UserError, match=words):
        paired_relative_gain(base, treated)


def test_mean_over_seeds_is_the_t_interval():
    values = [4.0, 6.0, 5.5, 7.0]
    interval = mean_over_seeds(values, share=False)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=np.std(values, ddof=1) / 2)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((np.mean(values), low, high))
    assert (interval.interval_kind, interval.seeds, interval.samples) == ("seeds", 4, 1)
    assert interval.standard_error == pytest.approx(stats.sem(values))


def test_gain_over_seeds_is_paired_and_linearised():
    base, treated = np.array([0.5, 0.6, 0.4]), np.array([0.55, 0.63, 0.47])
    gain = paired_gain_over_seeds(base, treated)
    ratio = treated.mean() / base.mean()
    test = stats.ttest_1samp(np.log(ratio) + treated / treated.mean() - base / base.mean(), 0)
    interval = test.confidence_interval(0.95)
    assert gain.estimate == pytest.approx(ratio - 1)
    assert (gain.low, gain.high) == pytest.approx((np.expm1(interval.low), np.expm1(interval.high)))
    assert gain.p_value == pytest.approx(test.pvalue)
    assert gain.smallest_p == 0.25
    assert gain.gain_points == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("base", "treated"),
    [([0.5, 0.5], [0.5]), ([0.0, 0.0], [0.1, 0.1]), ([0.5, np.nan], [0.5, 0.5]), ([], [])],
)
def test_figures_that_give_no_gain_over_seeds_are_refused(base, treated):
    with pytest.raises(UserError):
        paired_gain_over_seeds(base, treated)
