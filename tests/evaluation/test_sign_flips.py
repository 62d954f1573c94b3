import itertools

import numpy as np
import pytest
from crossed_model import crossed_pair
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sla_bench.evaluation.statistics import paired_gain_over_seeds, paired_relative_gain
from sla_bench.evaluation.verdicts import MONTE_CARLO_FLIPS


@given(seed=st.integers(0, 2**32 - 1), seeds=st.integers(2, 7))
@settings(max_examples=30)
def test_exact_sign_flips_are_all_of_them(seed, seeds):
    base, treated = crossed_pair(np.random.default_rng(seed), seeds, 10, seed_sd=0.1)
    d = (treated - base).mean(axis=1)
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((1, -1), repeat=seeds)]
    expected = np.mean(np.array(sums) >= abs(d.sum()) - 1e-12)
    gain = paired_relative_gain(base, treated)
    assert gain.p_sign_flip == pytest.approx(expected)
    assert gain.smallest_p == 2.0 ** (1 - seeds) <= gain.p_sign_flip


@pytest.mark.parametrize("seed", range(20))
def test_rounding_does_not_undercut_the_smallest_p(seed):
    base, treated = crossed_pair(np.random.default_rng(seed), 13, 10, seed_sd=0.001)
    treated = treated + 1  # every seed gains: only the observed signs and their mirror image reach the sum
    gain = paired_relative_gain(base, treated)
    assert gain.p_sign_flip == gain.smallest_p == 2.0**-12


def test_sign_flips_agree_with_scipy_at_sixteen_seeds():
    base, treated = crossed_pair(np.random.default_rng(5), 16, 20, seed_sd=0.3)
    d = (treated - base).mean(axis=1)
    test = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert paired_relative_gain(base, treated).p_sign_flip == pytest.approx(test.pvalue)


def test_more_seeds_flip_at_random_from_the_given_seed():
    base, treated = crossed_pair(np.random.default_rng(6), 20, 20, seed_sd=0.15)
    first, again, other = (paired_relative_gain(base, treated, seed=s) for s in (0, 0, 1))
    assert first.p_sign_flip == again.p_sign_flip != other.p_sign_flip
    d = (treated - base).mean(axis=1)
    exact = stats.permutation_test(
        (d,), np.sum, permutation_type="samples", n_resamples=20_000, random_state=0
    )
    assert first.p_sign_flip == pytest.approx(exact.pvalue, abs=0.02)
    assert first.smallest_p == pytest.approx(1 / (1 + MONTE_CARLO_FLIPS))


def test_flips_are_exact_up_to_sixteen_seeds_and_65535_beyond():
    """One seed makes the whole difference: every choice of signs is as large as the observed one."""
    treated = np.full((17, 4), 0.5)
    treated[3] = 0.7
    gain = paired_relative_gain(np.full((17, 4), 0.5), treated)
    assert gain.p_sign_flip == 1
    assert gain.smallest_p == 2.0**-16
    base, treated = crossed_pair(np.random.default_rng(16), 17, 20, seed_sd=0.15)
    p_values = [paired_relative_gain(base, treated, seed=s).p_sign_flip for s in range(3)]
    assert len(set(p_values)) > 1
    assert all(p * 2**16 == round(p * 2**16) for p in p_values)
    assert len({paired_relative_gain(base[:16], treated[:16], seed=s).p_sign_flip for s in range(3)}) == 1
    assert paired_relative_gain(base, treated).p_sign_flip == p_values[0]


def test_the_global_random_state_is_left_alone():
    base, treated = crossed_pair(np.random.default_rng(7), 17, 20)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    paired_relative_gain(base, treated)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_signs_of_many_seeds_are_flipped_from_seed_0_unless_told_otherwise():
    base, treated = (a.mean(axis=1) for a in crossed_pair(np.random.default_rng(20), 18, 5, seed_sd=0.15))
    plain, first, second = (paired_gain_over_seeds(base, treated, *seed) for seed in ((), (0,), (1,)))
    assert plain == first
    assert first.p_sign_flip != second.p_sign_flip
