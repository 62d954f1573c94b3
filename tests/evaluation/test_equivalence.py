import math
from dataclasses import replace

import numpy as np
import pytest
from crossed_model import crossed_pair

from sla_bench.errors import UserError
from sla_bench.evaluation.crossed_error import crossed_error, error_over_classes
from sla_bench.evaluation.verdicts import RELEVANT, seeds_to_decide, verdict


def pair(difference, seed_sd=0.001, seeds=3, samples=400, seed=0):
    base, treated = crossed_pair(np.random.default_rng(seed), seeds, samples, seed_sd, 0.01, 0.01)
    return base, treated - treated.mean() + base.mean() + difference


@pytest.mark.parametrize(
    ("difference", "seed_sd", "word"),
    [
        (0.05, 0.001, "gains"),
        (-0.05, 0.001, "loses"),
        (0.0, 0.001, "no relevant difference"),
        (0.0, 0.02, "undecided"),
        (0.012, 0.02, "undecided"),
    ],
)
def test_words(difference, seed_sd, word):
    assert verdict(*pair(difference, seed_sd)) == word


def test_the_90_percent_interval_decides_at_both_borders():
    base, treated = pair(0.0)
    reach = crossed_error(treated - base, 0.0).reach(0.90)
    assert RELEVANT == 0.01
    for difference, word in (
        (0.01 + 1.001 * reach, "gains"),
        (0.01 + 0.999 * reach, "undecided"),
        (0.01 - 0.999 * reach, "undecided"),
        (0.01 - 1.001 * reach, "no relevant difference"),
        (1.001 * reach - 0.01, "no relevant difference"),
        (0.999 * reach - 0.01, "undecided"),
        (-0.999 * reach - 0.01, "undecided"),
        (-1.001 * reach - 0.01, "loses"),
    ):
        assert verdict(base, treated + difference) == word, difference


def test_another_region_moves_the_borders_and_an_impossible_one_is_refused():
    base, treated = pair(0.03)
    assert [verdict(base, treated, region=r) for r in (0.01, 0.03, 0.2)] == [
        "gains", "undecided", "no relevant difference"
    ]  # fmt: skip
    for region in (0, -0.01, 1, 1.5, float("nan")):
        with pytest.raises(UserError, match=f"got {100 * region:g}; that of the protocol is 1"):
            verdict(base, treated, region=region)


def test_one_seed_and_seeds_that_do_not_differ_have_none():
    base, treated = pair(0.05)
    assert verdict(base[:1], treated[:1]) is None
    assert verdict(np.full((2, 8), 0.5), np.full((2, 8), 0.7)) is None


def test_a_verdict_about_other_classes_is_less_sure():
    base, treated = pair(0.03, samples=900)
    rng = np.random.default_rng(1)
    episodes = np.argsort(rng.random((900, 10)), axis=1)[:, :3]
    effects = rng.normal(0, 0.08, 10)
    treated = treated + effects[episodes].mean(axis=1) - effects[episodes].mean()
    assert verdict(base, treated) == "gains"
    assert verdict(base, treated, classes=episodes) == "undecided"
    error = crossed_error(treated - base, 0.03)
    wider = error_over_classes(error, treated - base - (treated - base).mean(), episodes)
    assert wider.reach(0.9) > 0.02 > error.reach(0.9)
    assert verdict(base, treated, classes=np.tile(np.arange(3), (900, 1))) is None


def test_images_are_drawn_within_class():
    strata = np.tile(np.arange(4), 100)
    base, treated = pair(0.03)
    treated = treated + 0.4 * (strata - 1.5)
    assert verdict(base, treated) == "undecided"
    assert verdict(base, treated, strata=strata) == "gains"


def test_seeds_that_decide_are_the_first_whose_interval_leaves_a_border():
    base, treated = pair(0.012, seed_sd=0.004)
    error = crossed_error(treated - base - (treated - base).mean(), 0.012)
    needed = seeds_to_decide(base, treated)
    decided = {}
    for seeds in range(4, 2 * int(needed)):
        own = 3 * error.own / seeds
        reach = replace(error, own=own, own_freedom=seeds - 1).reach(0.90)
        decided[seeds] = 0.012 - reach > 0.01 or 0.012 + reach < 0.01
    assert needed == min(seeds for seeds, is_decided in decided.items() if is_decided)
    assert all(is_decided for seeds, is_decided in decided.items() if seeds >= needed)


def test_a_decided_contrast_needs_no_seeds_and_a_small_test_is_not_helped_by_them():
    assert seeds_to_decide(*pair(0.05)) is None
    base, treated = pair(0.05)
    assert seeds_to_decide(base[:1], treated[:1]) is None
    base, treated = pair(0.0, samples=8)
    noisy = treated + 0.3 * (np.arange(8) % 2 - 0.5)
    assert verdict(base, noisy) == "undecided"
    assert seeds_to_decide(base, noisy) == math.inf
