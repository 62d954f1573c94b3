import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sla_bench.tables.report.whiskers import Axis


def row(gain, low, high, kind="crossed"):
    return {
        "relative_gain_pct": gain,
        "gain_ci95_low": low,
        "gain_ci95_high": high,
        "gain_interval_kind": kind,
    }


@given(low=st.floats(-1e3, 1e3, allow_subnormal=False), length=st.floats(0.1, 1e3))
def test_ticks_are_few_round_and_on_the_axis(low, length):
    axis = Axis(low, low + length)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 5
    assert all(0 <= place <= 100 for place, _, _ in ticks)
    assert (low <= 0 <= low + length) == ("0" in [text for _, text, _ in ticks])
    for place, text, _ in ticks:
        value = float(text.replace("\N{MINUS SIGN}", "-"))
        assert place == pytest.approx(100 * (value - low) / length, abs=0.6)


def test_an_interval_that_goes_on_is_cut_and_says_so():
    whisker = Axis(-10, 30).whisker(row(10, -20, 20))
    assert (whisker.place, whisker.low, whisker.high) == (50, 0, 75)
    assert (whisker.cut_low, whisker.cut_high, whisker.alone) == (True, False, False)


def test_one_seed_stands_alone_and_no_gain_is_nothing():
    axis = Axis(-10, 10)
    assert axis.whisker(row(0, math.nan, math.nan, "one seed")).alone
    assert axis.whisker(row(0, math.nan, math.nan)).low is None
    assert axis.whisker(row(math.nan, math.nan, math.nan)) is None


def test_a_gain_beyond_the_axis_is_an_arrow_without_a_dot():
    axis = Axis(-10, 30)
    for beyond in (row(-60, -61, -59), row(-60, math.nan, math.nan)):
        whisker = axis.whisker(beyond)
        assert (whisker.place, whisker.cut_low, whisker.cut_high) == (None, True, False)
    assert axis.whisker(row(31, 29, 33)).cut_high
