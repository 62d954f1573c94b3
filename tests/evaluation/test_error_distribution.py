import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from sla_bench.evaluation.crossed_error import ErrorDistribution, two_sided_p


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 9, 19, 59, 400, 1999, 9000])
@pytest.mark.parametrize("p", [0.05, 1e-3, 1e-6])
def test_one_part_alone_is_the_t_distribution(freedom, p):
    z = stats.t.isf(p / 2, freedom)
    assert ErrorDistribution(4.0, 0.0, freedom, 50).p_value(2 * z) == pytest.approx(p, rel=1e-6)
    assert ErrorDistribution(0.0, 4.0, 2, freedom).p_value(-2 * z) == pytest.approx(p, rel=1e-6)


def convolved(z, own, shared, f, g):
    """P(|sqrt(own) t_f + sqrt(shared) t_g| > z): Behrens and Fisher's distribution by quadrature."""
    a, b = np.sqrt(own), np.sqrt(shared)

    def integrand(y):
        return stats.t.pdf(y, g) * (stats.t.sf((z - b * y) / a, f) + stats.t.cdf((-z - b * y) / a, f))

    return integrate.quad(integrand, -80, 80, limit=500, epsabs=1e-13, points=[-20, -5, 0, 5, 20])[0]


@pytest.mark.parametrize(
    ("z", "own", "shared", "f", "g"),
    [(5, 1, 1, 2, 19), (12, 0.09, 1, 1, 1990), (30, 1, 1, 2, 59), (3, 1, 4, 4, 1000), (100, 1, 0.01, 1, 19)],
)
def test_two_parts_are_the_sum_of_two_scaled_t(z, own, shared, f, g):
    expected = convolved(z, own, shared, f, g)
    assert ErrorDistribution(own, shared, f, g).p_value(z) == pytest.approx(expected, rel=1e-6)


@given(
    st.floats(1e-6, 1), st.floats(0, 1), st.integers(1, 20), st.integers(1, 3000),
    st.sampled_from([0.5, 0.9, 0.95, 0.999]),
)  # fmt: skip
def test_the_interval_is_where_p_is_one_minus_the_level(own, shared, f, g, level):
    error = ErrorDistribution(own, shared, f, g)
    assert error.p_value(error.reach(level)) == pytest.approx(1 - level, rel=1e-6)
    scaled = ErrorDistribution(100 * own, 100 * shared, f, g)
    assert scaled.reach(level) == pytest.approx(10 * error.reach(level), rel=1e-6)


def test_where_nothing_varies_there_is_neither_interval_nor_p():
    nothing = ErrorDistribution(0.0, 0.0, 2, 100)
    assert np.isnan([nothing.reach(), nothing.p_value(1.0)]).all()


def test_many_p_values_at_once_are_those_one_by_one():
    rng = np.random.default_rng(0)
    z, own, shared = rng.normal(size=(2, 3)), rng.random((2, 3)), rng.random((2, 3))
    one_by_one = [
        ErrorDistribution(a, b, 2, 30).p_value(x)
        for x, a, b in zip(z.ravel(), own.ravel(), shared.ravel(), strict=True)
    ]
    assert two_sided_p(z, own, shared, 2, 30).ravel() == pytest.approx(one_by_one)


def test_thousands_of_intervals_take_seconds():
    start = time.process_time()
    for k in range(200):
        ErrorDistribution(0.5 + k / 1000, 0.7, 2, 1980).reach()
    assert (time.process_time() - start) / 200 < 0.005
