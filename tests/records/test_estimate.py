import pytest
from spanned import runs_of
from training_factors import COST, DRAWN, PRETRAINED

from sla_bench.records.planning import estimate, relative_seconds, seconds_on
from sla_bench.records.store import RunRecord


def recorded(runs, seconds, tmp_path):
    return [
        RunRecord(str(k), tmp_path, run, {"train_seconds": s}, ())
        for k, (run, s) in enumerate(zip(runs, seconds, strict=True))
    ]


def test_other_seeds_of_the_same_run_give_their_median(tmp_path):
    seen = runs_of("fewshot", seed=[0, 1, 2], method=["sla"])
    found = estimate(
        runs_of("fewshot", seed=[3, 4], method=["sla"]), recorded(seen, [10, 30, 1000], tmp_path)
    )
    assert (found.seconds, found.unknown, found.records) == (pytest.approx((30, 30)), 0, 3)


def test_the_likest_records_count(tmp_path):
    seen = runs_of("fewshot", seed=[0], learner=["protonet", "metaoptnet-rr"], method=["baseline"])
    found = estimate(
        runs_of("fewshot", seed=[1], learner=["metaoptnet-rr"], method=["baseline"]),
        recorded(seen, [10, 40], tmp_path),
    )
    assert (found.seconds, found.records) == (pytest.approx((40,)), 1)


@pytest.mark.parametrize(
    ("settings", "given", "factor"),
    [
        (["steps=3000"], {}, 3),
        ([], {"train_queries": 25}, 30 / 15),
        ([], {"train_ways": 10}, 2),
        ([], {"method": ["sla"]}, 4),
        ([], {"method": ["sla"], "transform": ["color_perm"]}, 6),
        ([], {"method": ["baseline-xM"]}, 4),
        ([], {"learner": ["metaoptnet-svm"]}, 1),
    ],
)
def test_other_lengths_and_methods_by_images(settings, given, factor, tmp_path):
    seen = runs_of("fewshot", ["steps=1000"], method=["baseline"], seed=[1])
    wanted = runs_of("fewshot", settings or ["steps=1000"], **{"method": ["baseline"], **given})
    found = estimate(wanted, recorded(seen, [10], tmp_path))
    assert found.seconds == pytest.approx((10 * factor,))


@pytest.mark.parametrize(
    "given", [{"backbone": ["conv4-32"]}, {"dataset": ["glyphs-rot"]}, {"precision": "bf16"}]
)
def test_of_other_backbones_and_data_nothing_is_known(given, tmp_path):
    seen = recorded(runs_of("fewshot", method=["baseline"]), [10], tmp_path)
    found = estimate(runs_of("fewshot", method=["baseline"], **given), seen)
    assert (found.seconds, found.known, found.unknown, found.records) == ((None,), [], 1, 0)


def test_records_of_several_threads_count_as_if_on_one(tmp_path):
    (seen,) = recorded(runs_of("fewshot", method=["baseline"]), [seconds_on(2, 10)], tmp_path)
    seen.done["threads"] = 2
    assert estimate(runs_of("fewshot", method=["baseline"], seed=[1]), [seen]).seconds == pytest.approx((10,))
    assert 5 < seconds_on(2, 10) < 10 == seconds_on(1, 10)


def test_runs_of_which_nothing_is_known_are_compared_by_their_images(tmp_path):
    runs = runs_of("fewshot", method=["baseline", "sla"])
    assert relative_seconds(estimate(runs, []), runs)[1] == 4 * relative_seconds(estimate(runs, []), runs)[0]
    others = runs_of("fewshot", method=["sla"], backbone=["conv4-32"])
    found = estimate([*runs, *others], recorded(runs[:1], [10], tmp_path))
    assert found.seconds == (pytest.approx(10), pytest.approx(40), None)
    assert relative_seconds(found, [*runs, *others]) == pytest.approx([10, 40, 40])


def test_class_sizes_are_part_of_the_cost_of_an_epoch(tmp_path):
    seen = recorded(runs_of("imbalanced", ["epochs=10"], method=["baseline"]), [20], tmp_path)
    longer = estimate(runs_of("imbalanced", ["epochs=30"], method=["sla+sd"], loss=["ldam"]), seen)
    assert longer.seconds == pytest.approx((20 * 3 * 4,))
    assert estimate(runs_of("imbalanced", method=["baseline"], ratio=[10.0]), seen).unknown == 1


def test_members_are_part_of_the_cost_of_a_training(tmp_path):
    seen = recorded(runs_of("standard", ["steps=100"], method=["baseline"]), [20], tmp_path)
    more = estimate(runs_of("standard", ["steps=300", "ensemble=3"], method=["sla"]), seen)
    assert more.seconds == pytest.approx((20 * 3 * 3 * 4,))
    assert estimate(runs_of("standard", method=["baseline"], mix=["cutmix"]), seen).unknown == 1


def test_the_cost_of_a_method_is_that_of_its_objective():
    """The rule that `estimate` and the protocol share, against what the objectives do."""
    import torch

    from sla_bench.models.losses.criteria import CrossEntropy
    from sla_bench.objectives.classes import Classes, OnClasses
    from sla_bench.objectives.episodes import OnEpisodes
    from sla_bench.registry import METHODS, TRANSFORMS

    transform = TRANSFORMS.load("rotation")
    classes = Classes(torch.tensor([3, 2]), CrossEntropy)
    twice = {"baseline-x2", "baseline-x2M", *PRETRAINED}
    for name in METHODS:
        method = METHODS.load(name)
        expected = COST.get(name, transform.num_views)
        assert method.cost(transform.num_views) == expected, name
        assert method.cost(1) == (2 if name in twice else 1), name
        for bound in (OnEpisodes(method, transform), OnClasses(method, 4, classes, transform)):
            drawn = DRAWN.get(name, 1)
            per_image = bound.copies * (bound.num_views if method.trains_on_views else drawn)
            assert per_image == bound.images_per_image, name
            assert (
                bound.way_factor * per_image * bound.step_factor * bound.members
                == expected - PRETRAINED.get(name, 0)
            ), name
