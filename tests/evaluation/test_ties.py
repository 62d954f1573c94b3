import numpy as np
import pytest
from crossed_model import crossed_pair
from own_statistics import crossed, over_classes, two_sided_p

from benchmarks.simulated_errors import components
from sla_bench.errors import UserError
from sla_bench.evaluation.crossed_error import two_sided_p as many_p_values
from sla_bench.evaluation.ties import p_behind, tied


@pytest.mark.parametrize("shift", [0.0, 0.03, -0.02])
def test_p_is_one_sided_and_of_the_generalised_distribution(shift):
    base, treated = crossed_pair(np.random.default_rng(1), 3, 60, 0.01)
    best, other = treated + shift - treated.mean() + base.mean(), base
    differences = best - other
    half = two_sided_p(abs(differences.mean()), *crossed(differences)) / 2
    expected = half if differences.mean() > 0 else 1 - half
    assert p_behind(best, other) == pytest.approx(expected, abs=1e-7)


def test_p_of_few_shot_rows_is_about_other_classes():
    rng = np.random.default_rng(2)
    episodes = rng.random((400, 9)).argsort(axis=1)[:, :3]
    base, treated = crossed_pair(rng, 3, 400, 0.001)
    effects = rng.normal(0, 0.05, 9)
    treated = treated + effects[episodes].mean(axis=1)
    differences = treated - base
    error = over_classes(crossed(differences), differences, episodes)
    expected = two_sided_p(differences.mean(), *error) / 2
    assert p_behind(treated, base, classes=episodes) == pytest.approx(expected, abs=1e-7)
    assert p_behind(treated, base, classes=episodes) > p_behind(treated, base)


def test_equal_rows_are_tied_and_one_seed_is_nothing():
    base, treated = crossed_pair(np.random.default_rng(3), 2, 20)
    assert p_behind(base, base) == 1
    assert p_behind(treated[:1], base[:1]) is None


def test_the_bound_counts_the_rows():
    assert tied([0.02]).tolist() == [False]
    assert tied([0.02, 0.9, 0.5]).tolist() == [True, True, True]
    assert tied([0.01, 0.9, 0.5]).tolist() == [False, True, True]
    with pytest.raises(UserError, match=r"0\.\.1"):
        tied([0.1, float("nan")])


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("ratio", [0.1, 10.0])
@pytest.mark.parametrize("means", [(0,) * 6, (0.002, 0, 0, 0, -0.02, -0.04), (0.02, 0.019, 0, 0, 0, -0.02)])
def test_the_true_best_is_best_or_tied_in_95_percent_of_tables(seeds, ratio, means):
    """Rows that share hard and easy samples; standard errors of a half percent from the test."""
    rng = np.random.default_rng([seeds, round(10 * ratio), round(1e4 * sum(means)) % 97])
    samples, tables, kept = 100, 300, []
    test_sd, seed_sd = 0.005 * np.sqrt(samples), 0.005 * np.sqrt(ratio * seeds)
    for _ in range(tables):
        values = 0.6 + np.array(means)[:, None, None] + rng.normal(0, 2 * test_sd, samples)
        values = values + rng.normal(0, test_sd, (len(means), 1, samples))
        values = values + rng.normal(0, seed_sd, (len(means), seeds, 1))
        values = values + rng.normal(0, 0.01, (len(means), seeds, samples))
        best = int(values.mean(axis=(1, 2)).argmax())
        others = [k for k in range(len(means)) if k != best]
        own, shared = components(values[best] - values[others])
        differences = (values[best] - values[others]).mean(axis=(1, 2))
        p = many_p_values(differences, own, shared, seeds - 1, samples - 1) / 2
        kept.append(best == 0 or tied(p)[others.index(0)])
    slack = 3 * np.sqrt(0.95 * 0.05 / tables)
    assert np.mean(kept) >= 0.95 - slack
