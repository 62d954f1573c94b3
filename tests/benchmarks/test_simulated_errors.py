"""Error rates of intervals, p-values, families and verdicts stay below their limits."""

import sys

import numpy as np
import pytest
from documented import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import simulated_errors
from benchmarks.simulated_errors import PARTS, Result, components, errors_of_tests
from sla_bench.evaluation.crossed_error import crossed_error


def test_many_arrays_at_once_have_the_parts_of_each():
    values = np.random.default_rng(0).normal(size=(5, 3, 20))
    own, shared = components(values)
    for one, a, b in zip(values, own, shared, strict=True):
        error = crossed_error(one, 0.0)
        assert (a, b) == pytest.approx((error.own, error.shared))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_short_simulation_keeps_the_limits(part):
    found = list(part(0.02))
    assert len(found) >= 4
    assert [one for one in found if not one.kept] == []


def test_a_share_outside_its_limits_is_not_kept():
    for share, kept in ((0.05, True), (0.2, False)):
        happened = np.arange(1000) < 1000 * share
        assert simulated_errors.result("x", 3, 1.0, "", happened, (0, 0.05)).kept == kept
    assert isinstance(simulated_errors.result("x", 3, 1.0, "", happened, (0.93, 0.98)), Result)


def test_satterthwaite_would_be_found_out(monkeypatch):
    """Degrees of freedom that are estimated from three seeds: what earlier releases did."""
    from scipy.special import stdtr

    def satterthwaite(estimates, own, shared, own_freedom, shared_freedom):
        whole = own + shared
        freedom = whole**2 / (own**2 / own_freedom + shared**2 / shared_freedom)
        return 2 * stdtr(freedom, -np.abs(estimates) / np.sqrt(whole))

    monkeypatch.setattr(simulated_errors, "two_sided_p", satterthwaite)
    monkeypatch.setattr(simulated_errors, "SEEDS", (3,))
    broken = [one for one in errors_of_tests(0.05) if not one.kept]
    assert {one.quantity for one in broken} == {"family-wise error", "p below its level"}


@pytest.mark.campaign
def test_the_whole_simulation_keeps_the_limits():
    assert [one for one in simulated_errors.simulate(1.0) if not one.kept] == []
