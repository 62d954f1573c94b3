import numpy as np
import pytest

from sla_bench.errors import UserError
from sla_bench.evaluation.advice import advise, deal


def test_groups_share_no_picture_and_have_equal_classes():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [40, 61, 13, 11]))
    groups = deal(labels, 0)
    assert len(groups) == 6
    together = np.concatenate(groups)
    assert len(np.unique(together)) == len(together)
    counts = np.array([np.bincount(labels[group], minlength=4) for group in groups])
    # Equal in each group, nothing left that would fill the groups once more; eleven pictures are too few.
    assert (counts == counts[0]).all()
    assert counts[0].tolist() == [6, 10, 2, 0]


def test_folders_that_are_too_small_are_refused():
    with pytest.raises(UserError, match="1 classes have the 12 pictures"):
        deal(np.repeat([0, 1, 2], [30, 11, 11]), 0)


@pytest.mark.parametrize("groups", [3, 5])
def test_choosing_is_not_flattered(groups):
    """Where no method differs from plain, one is recommended in at most 2.5 % of cases."""
    random, recommended, cases = np.random.default_rng(0), 0, 4000
    for _ in range(cases):
        # Methods share most of the chance of a group.
        halves = [
            {name: random.normal(0.2, 0.02, groups) + shared for name in ("plain", "flip", "turns", "SLA")}
            for shared in (random.normal(0, 0.05, groups), random.normal(0, 0.05, groups))
        ]
        recommended += advise(*halves, "plain").recommended
    assert recommended / cases <= 0.025 + 3 * np.sqrt(0.025 / cases)


def test_a_method_that_is_better_is_found_and_its_gain_is_that_of_the_other_half():
    random = np.random.default_rng(1)
    plain = [random.normal(0.7, 0.02, 5) for _ in range(2)]
    halves = [{"plain": p, "SLA": p + 0.1 + random.normal(0, 0.005, 5), "flip": p - 0.1} for p in plain]
    found = advise(*halves, "plain")
    assert found.method == "SLA"
    assert found.rows["SLA"].gain == pytest.approx(100 * (halves[1]["SLA"] - halves[1]["plain"]).mean())
    assert found.rows["flip"].high < 0
