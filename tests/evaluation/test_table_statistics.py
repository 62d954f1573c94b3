"""p-values adjusted over a family, and summaries over a table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sla_bench.errors import UserError
from sla_bench.evaluation.verdicts import holm, interquartile_mean, share_of_losses


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_rows_without_a_test_out_of_the_count():
    adjusted = holm([np.nan, 0.02, np.nan, 0.5])
    assert np.isnan(adjusted[[0, 2]]).all()
    assert adjusted[[1, 3]] == pytest.approx([0.04, 0.5])
    assert np.isnan(holm([np.nan, np.nan])).all()
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    rejected, remaining = set(), sorted(range(len(p_values)), key=lambda i: p_values[i])
    for k, i in enumerate(remaining):
        if (len(p_values) - k) * p_values[i] > 0.05:
            break
        rejected.add(i)
    adjusted = holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= 0.05} == rejected
    assert (adjusted >= np.array(p_values)).all()
    assert (adjusted <= 1).all()


def test_holm_refuses_what_is_no_probability():
    for value in (1.2, -0.2):
        with pytest.raises(UserError, match=r"0\.\.1"):
            holm([0.5, value])


def test_interquartile_mean_is_scipys_trimmed_mean():
    values = np.random.default_rng(15).normal(size=23)
    with_gaps = np.append(values, [np.nan, np.nan])
    assert interquartile_mean(with_gaps) == pytest.approx(stats.trim_mean(values, 0.25))
    assert interquartile_mean([0, 1, 2, 300]) == pytest.approx(1.5)


def test_share_of_losses_counts_gains_only():
    assert share_of_losses([-1, 0, 2, np.nan, -3]) == 0.5
    for summary in (share_of_losses, interquartile_mean):
        with pytest.raises(UserError, match="at least one gain"):
            summary([np.nan])
