"""What holds for the statistics of any accuracies."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sla_bench.errors import UserError
from sla_bench.evaluation.statistics import (
    mean_interval,
    mean_over_seeds,
    paired_gain_over_seeds,
    paired_relative_gain,
)
from sla_bench.evaluation.verdicts import holm, interquartile_mean, share_of_losses


@st.composite
def pairs(draw, fewest=1, most=6):
    """Two arrays (S, T) of accuracies that few answers of an episode can have, and so with ties."""
    shape = draw(st.integers(fewest, most)), draw(st.integers(2, 12))
    queries = draw(st.sampled_from([1, 5, 75]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    base, treated = (rng.integers(0, queries + 1, size=shape) / queries for _ in range(2))
    assume(base.mean() > 0)
    return base, treated


@st.composite
def pairs_of_seeds(draw):
    """Figures of two methods, one per seed."""
    seeds = draw(st.integers(2, 12))
    figures = st.lists(st.integers(1, 1000).map(lambda n: n / 1000), min_size=seeds, max_size=seeds)
    return np.array(draw(figures)), np.array(draw(figures))


def numbers(result, but=()):
    kept = {k: v for k, v in vars(result).items() if k not in but and not isinstance(v, str)}
    return pytest.approx(kept, rel=1e-6, abs=1e-9, nan_ok=True)


def values(result, but=()):
    return {k: v for k, v in vars(result).items() if k not in but and not isinstance(v, str)}


MANY = settings(max_examples=100)
IN_POINTS = ("gain_points", "error_reduction_pct")


@given(pairs(), st.data())
@MANY
def test_the_order_of_seeds_and_of_samples_means_nothing(pair, data):
    base, treated = pair
    rows = data.draw(st.permutations(range(base.shape[0])))
    columns = data.draw(st.permutations(range(base.shape[1])))
    shuffled = [a[rows][:, columns] for a in pair]
    assert values(paired_relative_gain(*shuffled)) == numbers(paired_relative_gain(base, treated))
    assert values(mean_interval(shuffled[0])) == numbers(mean_interval(base))


@given(pairs(), st.integers(1, 50).map(lambda n: n / 10))
@MANY
def test_a_relative_gain_has_no_unit(pair, factor):
    base, treated = pair
    scaled = paired_relative_gain(factor * base, factor * treated)
    assert values(scaled, IN_POINTS) == numbers(paired_relative_gain(base, treated), IN_POINTS)


@given(pairs(), st.integers(-20, 20).map(lambda n: n / 10))
@MANY
def test_a_mean_moves_with_its_values(pair, shift):
    values_, _ = pair
    plain, moved = mean_interval(values_, share=False), mean_interval(values_ + shift, share=False)
    assert moved.estimate - shift == pytest.approx(plain.estimate, abs=1e-12)
    ends = (moved.low - shift, moved.high - shift)
    assert ends == pytest.approx((plain.low, plain.high), rel=1e-6, abs=1e-9, nan_ok=True)


@given(pairs(fewest=2))
@MANY
def test_gain_and_loss_are_mirror_images(pair):
    """Treated above the reference by as much as below it, seed by seed and sample by sample."""
    base, treated = pair
    up = paired_relative_gain(base, treated)
    down = paired_relative_gain(base, 2 * base - treated)
    assert down.estimate == pytest.approx(-up.estimate, abs=1e-9)
    assert down.gain_points == pytest.approx(-up.gain_points, abs=1e-9)
    assert down.p_sign_flip == up.p_sign_flip


@given(pairs())
@MANY
def test_the_interval_holds_the_estimate_and_stays_where_it_can_be(pair):
    gain, mean = paired_relative_gain(*pair), mean_interval(pair[0])
    for result, least, most in ((gain, -1, math.inf), (mean, 0, 1)):
        if not math.isnan(result.low):
            assert least <= result.low <= result.estimate + 1e-12
            assert result.estimate - 1e-12 <= result.high <= most
            assert result.standard_error > 0


@given(pairs(fewest=2))
@MANY
def test_swapping_method_and_reference_turns_the_ratio_over(pair):
    base, treated = pair
    assume(treated.mean() > 0)
    there, back = paired_relative_gain(base, treated), paired_relative_gain(treated, base)
    ends = 1 / (1 + back.high) - 1, 1 / (1 + back.low) - 1
    assume(there.high < 1e3)
    assert (there.low, there.high) == pytest.approx(ends, rel=1e-6, abs=1e-9)
    assert there.p_value == pytest.approx(back.p_value, rel=1e-6, abs=1e-9)


@given(pairs(fewest=2))
@MANY
def test_p_values_are_what_they_can_be(pair):
    gain = paired_relative_gain(*pair)
    seeds = len(pair[0])
    assert gain.smallest_p == 2.0 ** (1 - seeds)
    assert gain.smallest_p <= gain.p_sign_flip <= 1
    # A share of the 2^(S-1) ways to choose signs up to a mirror image.
    assert gain.p_sign_flip * 2 ** (seeds - 1) == round(gain.p_sign_flip * 2 ** (seeds - 1))
    assert math.isnan(gain.p_value) or 0 <= gain.p_value <= 1


@given(pairs(fewest=2))
@MANY
def test_the_interval_and_the_p_value_agree_about_no_gain(pair):
    gain = paired_relative_gain(*pair)
    assume(not math.isnan(gain.low))
    assume(abs(gain.p_value - 0.05) > 1e-6)
    assert (gain.p_value < 0.05) == (not gain.low <= 0 <= gain.high)


@given(pairs_of_seeds(), st.data())
@MANY
def test_gains_over_seeds_have_the_same_symmetries(pair, data):
    base, treated = pair
    plain = paired_gain_over_seeds(base, treated)
    order = data.draw(st.permutations(range(len(base))))
    assert values(paired_gain_over_seeds(base[order], treated[order])) == numbers(plain)
    assert values(paired_gain_over_seeds(3 * base, 3 * treated), IN_POINTS) == numbers(plain, IN_POINTS)
    assert math.isnan(plain.low) or plain.low <= plain.estimate <= plain.high
    assert plain.smallest_p == 2.0 ** (1 - len(base)) <= plain.p_sign_flip <= 1
    one = mean_over_seeds(base)
    assert math.isnan(one.low) or 0 <= one.low <= one.estimate <= one.high <= 1


P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12)


@given(P_VALUES, st.data())
@MANY
def test_holm_keeps_the_order_and_forgets_positions(p_values, data):
    p, adjusted = np.array(p_values, dtype=float), holm(p_values)
    tested = ~np.isnan(p)
    assert np.array_equal(np.isnan(adjusted), ~tested)
    by_size = np.argsort(p[tested], kind="stable")
    assert (np.diff(adjusted[tested][by_size]) >= 0).all()
    assert (adjusted[tested] >= p[tested]).all()
    assert (adjusted[tested] <= np.minimum(1, tested.sum() * p[tested])).all()
    order = np.array(data.draw(st.permutations(range(len(p)))), dtype=int)
    assert np.array_equal(holm(p[order]), adjusted[order], equal_nan=True)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.data())
@MANY
def test_summaries_over_gains(gains, data):
    order = data.draw(st.permutations(gains))
    assert min(gains) - 1e-12 <= interquartile_mean(gains) <= max(gains) + 1e-12
    assert interquartile_mean(order) == pytest.approx(interquartile_mean(gains), abs=1e-12)
    below = sum(g < 0 for g in gains)
    assert share_of_losses(gains) == pytest.approx(below / len(gains))
    assert interquartile_mean([*gains, math.nan]) == interquartile_mean(gains)


BAD = [math.nan, math.inf, -math.inf]


@given(pairs(fewest=2, most=4), st.sampled_from(BAD), st.booleans(), st.data())
@MANY
def test_one_number_that_is_none_is_refused_wherever_it_stands(pair, bad, first, data):
    base, treated = (a.copy() for a in pair)
    spoiled = base if first else treated
    place = tuple(data.draw(st.integers(0, n - 1)) for n in spoiled.shape)
    spoiled[place] = bad
    for refused in (
        lambda: paired_relative_gain(base, treated),
        lambda: mean_interval(spoiled),
        lambda: mean_over_seeds(spoiled[:, place[1]]),
        lambda: paired_gain_over_seeds(base[:, place[1]], treated[:, place[1]]),
    ):
        with pytest.raises(UserError, match="finite"):
            refused()
