import json
import math
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sla_bench
from sla_bench.errors import UserError
from sla_bench.training.long_tail import (
    GROUP_NAMES,
    class_order,
    head_and_tail_groups,
    long_tailed_counts,
    long_tailed_indices,
    with_held_out,
)

GOLDEN = Path(__file__).parents[1] / "golden"
COUNTS = json.loads((GOLDEN / "visible_longtail_counts.json").read_text())
CORE = np.load(GOLDEN / "visible_core.npz")
INDICES = [key for key in CORE.files if key.startswith("lt_indices_")]
MANY, MEDIUM, FEW = range(3)


def labels_of(*counts):
    return np.repeat(np.arange(len(counts)), counts)


def kept(labels, index):
    return np.bincount(np.asarray(labels)[index], minlength=int(np.max(labels)) + 1).tolist()


@pytest.mark.parametrize("key", COUNTS)
def test_counts_of_the_published_code(key):
    dataset, imbalance, factor = key.split("|")
    classes = {"cifar10": 10, "cifar100": 100}[dataset]
    got = sla_bench.long_tailed_counts(classes, 50_000 // classes, imbalance, ratio=1 / float(factor))
    assert got == COUNTS[key]
    assert all(type(count) is int for count in got)


@pytest.mark.parametrize("key", INDICES)
def test_indices_of_the_published_code(key):
    _, _, imbalance, factor, seed = key.split("_")
    labels = CORE["lt_labels"]
    got = sla_bench.long_tailed_indices(labels, imbalance, 1 / float(factor), int(seed))
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, CORE[key])
    np.testing.assert_array_equal(
        long_tailed_indices(labels.tolist(), imbalance, 1 / float(factor), int(seed)), CORE[key]
    )


def test_the_global_generator_is_left_alone():
    np.random.seed(3)  # noqa: NPY002 - it is the one that must not move
    expected = np.random.RandomState(3).randint(2**31, size=4)
    long_tailed_indices(labels_of(50, 50), ratio=5, seed=8)
    np.testing.assert_array_equal(np.random.randint(2**31, size=4), expected)  # noqa: NPY002


@settings(max_examples=100)
@given(st.integers(2, 60), st.integers(1, 5000), st.floats(1, 300), st.sampled_from(["exp", "step"]))
def test_counts_fall_from_the_largest_to_the_smallest(num_classes, largest, ratio, imbalance):
    if int(largest * (1 / ratio)) < 1:
        with pytest.raises(UserError, match="without images"):
            long_tailed_counts(num_classes, largest, imbalance, ratio)
        return
    counts = long_tailed_counts(num_classes, largest, imbalance, ratio)
    assert len(counts) == num_classes
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == largest
    assert counts[-1] == int(largest * (1 / ratio))
    if imbalance == "exp":  # neighbours differ by the same factor, up to rounding down
        step = ratio ** (1 / (num_classes - 1))
        assert all(b <= a / step + 1 and a <= (b + 1) * step for a, b in pairwise(counts))


@pytest.mark.parametrize(
    ("num_classes", "expected"), [(5, [100, 100, 10, 10, 10]), (4, [100, 100, 10, 10]), (3, [100, 10, 10])]
)
def test_step_with_an_odd_number_of_classes_has_one_small_class_more(num_classes, expected):
    assert long_tailed_counts(num_classes, 100, "step", 10) == expected


def test_balanced_and_single_class():
    assert long_tailed_counts(3, 7, "exp", 1) == long_tailed_counts(3, 7, "none") == [7, 7, 7]
    assert long_tailed_counts(1, 7, "exp", 7) == long_tailed_counts(1, 7, "step", 7) == [7]


@pytest.mark.parametrize("largest", [1, 3, 49, 93, 500, 500.5])
def test_the_ratio_that_the_error_names_is_the_largest_whole_one(largest):
    with pytest.raises(UserError) as caught:
        long_tailed_counts(10, largest, "exp", 10_000)
    named = int(str(caught.value).rsplit(" ", 1)[1])
    assert long_tailed_counts(10, largest, "exp", named)[-1] == 1
    with pytest.raises(UserError, match="10 classes without images"):
        long_tailed_counts(10, largest, "exp", named + 1)


@pytest.mark.parametrize("ratio", [0.99, 0, -3, math.inf, math.nan])
def test_ratios_that_are_none(ratio):
    with pytest.raises(UserError, match=r"largest class divided by the smallest, at least 1; got"):
        long_tailed_counts(10, 500, "exp", ratio)


def test_unknown_imbalance():
    for call in (
        lambda: long_tailed_counts(3, 9, "stp", 2),
        lambda: long_tailed_indices(labels_of(9, 9), "stp", 2),
        lambda: head_and_tail_groups([9, 9], imbalance="stp"),
    ):
        with pytest.raises(UserError, match="unknown imbalance 'stp'; did you mean 'step'"):
            call()


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.sampled_from(["exp", "step", "none"]),
    st.integers(0, 2**32 - 1),
    st.randoms(use_true_random=False),
)
def test_a_subset_has_no_image_twice_and_never_more_than_there_is(counts, imbalance, seed, random):
    labels = labels_of(*counts)
    random.shuffle(labels)
    index = long_tailed_indices(labels, imbalance, ratio=min(3.0, max(counts)), seed=seed)
    assert len(set(index.tolist())) == len(index)
    got = kept(labels, index)
    assert all(0 < n <= available for n, available in zip(got, counts, strict=True))
    assert max(got) == max(counts)
    assert (imbalance != "none") or got == counts


def test_a_subset_of_higher_ratio_is_a_part_of_that_of_lower_ratio():
    labels = np.random.default_rng(0).permutation(labels_of(*[100] * 10))
    small, large = (set(long_tailed_indices(labels, "exp", ratio).tolist()) for ratio in (50, 10))
    assert small < large


def test_the_class_order_says_which_class_is_large():
    labels, order = labels_of(20, 20, 20), [2, 0, 1]
    counts = long_tailed_counts(3, 20, "exp", 10)
    index = long_tailed_indices(labels, "exp", 10, class_order=order)
    assert [kept(labels, index)[label] for label in order] == counts
    assert labels[index].tolist() == sorted(labels[index].tolist())
    same = long_tailed_indices(labels, "exp", 10, class_order=[0, 1, 2])
    np.testing.assert_array_equal(same, long_tailed_indices(labels, "exp", 10))


def test_imbalanced_data_are_made_more_so_in_the_order_of_their_sizes():
    labels = labels_of(5, 50, 20, 8)
    index = long_tailed_indices(labels, "exp", 10)
    assert kept(labels, index) == [5, 50, 20, 8]  # targets 50, 23, 10, 5 in the order 1, 2, 3, 0
    assert kept(labels, long_tailed_indices(labels, "exp", 50)) == [1, 50, 13, 3]
    assert kept(labels, long_tailed_indices(labels, "step", 10)) == [5, 50, 20, 5]


def test_imbalanced_data_as_they_are():
    labels = labels_of(5, 50, 20)
    assert long_tailed_indices(labels, "none").tolist() == list(range(75))
    assert kept(labels, long_tailed_indices(labels, "none", max_class_size=10)) == [5, 10, 10]
    a, b = (set(long_tailed_indices(labels, "none", seed=s, max_class_size=10).tolist()) for s in (0, 1))
    assert a != b


def test_largest_class():
    labels = labels_of(*[50] * 4)
    index = long_tailed_indices(labels, "exp", 10, max_class_size=20)
    assert kept(labels, index) == long_tailed_counts(4, 20, "exp", 10)
    for size in (51, 0, -1):
        with pytest.raises(UserError, match=f"max_class_size {size} must be 1 to 50"):
            long_tailed_indices(labels, "exp", 10, max_class_size=size)
    with pytest.raises(UserError, match="largest whole ratio that works is 20"):
        long_tailed_indices(labels, "exp", 100, max_class_size=20)


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [1, 2, 3], [[0, 1, 2]], [0.5, 1, 2]])
def test_a_class_order_is_a_permutation(order):
    with pytest.raises(UserError, match="each of the classes 0 to 2 once"):
        long_tailed_indices(labels_of(9, 9, 9), "exp", 3, class_order=order)


def test_a_class_order_that_asks_for_more_images_than_there_are():
    with pytest.raises(UserError, match="class 0 has 5 training images, 50 are wanted"):
        long_tailed_indices(labels_of(5, 50, 20), "exp", 10, class_order=[0, 1, 2])


@pytest.mark.parametrize("labels", [[], [0, 2], [1, 2], [-1, 0], [0.0, 1.0], [[0, 1]]])
def test_labels_are_0_to_c_minus_1(labels):
    with pytest.raises(UserError, match="labels must be"):
        long_tailed_indices(labels)


@settings(max_examples=50)
@given(st.integers(1, 100), st.integers(0, 9), st.integers(0, 30), st.integers(1, 10))
def test_permuted_orders_are_shifts_of_one_random_order(num_classes, order_seed, run_seed, positions):
    def order(seed):
        return class_order(
            "permuted", num_classes, order_seed=order_seed, run_seed=seed, positions=positions
        ).tolist()

    first, got = order(0), order(run_seed)
    assert sorted(got) == list(range(num_classes))
    shift = round((run_seed % positions) * num_classes / positions) % num_classes
    assert got == first[num_classes - shift :] + first[: num_classes - shift]
    assert order(run_seed + positions) == got


def test_each_seed_has_an_order_of_its_own_which_is_no_shift_of_another():
    orders = [class_order("permuted", 20, run_seed=seed).tolist() for seed in range(40)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    shifts = {tuple(order[k:] + order[:k]) for order in orders for k in range(20)}
    assert len(shifts) == 40 * 20
    assert orders[7] == class_order("permuted", 20, run_seed=7).tolist()
    assert orders[7] != class_order("permuted", 20, run_seed=7, order_seed=1).tolist()
    # Over many seeds every class is at the head about as often as any other.
    heads = np.bincount([class_order("permuted", 5, run_seed=seed)[0] for seed in range(1000)], minlength=5)
    assert heads == pytest.approx(np.full(5, 200), abs=5 * np.sqrt(1000 * 0.2 * 0.8))


def test_class_orders_that_do_not_exist():
    with pytest.raises(UserError, match="did you mean 'permuted'"):
        class_order("permutd", 3)
    with pytest.raises(UserError, match="must not be negative, got -1 and 0"):
        class_order("permuted", 3, order_seed=-1)
    with pytest.raises(UserError, match="must not be negative, got 0 and -1"):
        class_order("permuted", 3, positions=-1)


def test_groups_by_thresholds():
    counts = [500, 101, 100, 50, 20, 19, 1]
    expected = [MANY, MANY, MEDIUM, MEDIUM, MEDIUM, FEW, FEW]
    assert head_and_tail_groups(counts, (100, 20)).tolist() == expected
    assert GROUP_NAMES == ("many", "medium", "few")
    cifar100 = head_and_tail_groups(long_tailed_counts(100, 500, "exp", 100), (100, 20))
    assert np.bincount(cifar100).tolist() == [35, 35, 30]


def test_groups_by_the_ratio():
    # rho = 1000: thresholds 1000 / 10 and 1000 / 100, both excluded.
    counts = [1000, 101, 99, 11, 9, 1]
    assert head_and_tail_groups(counts).tolist() == [MANY, MANY, MEDIUM, MEDIUM, FEW, FEW]
    assert head_and_tail_groups(counts[::-1]).tolist() == [FEW, FEW, MEDIUM, MEDIUM, MANY, MANY]


def test_step_has_two_groups_and_balance_one():
    counts = long_tailed_counts(5, 500, "step", 10)
    assert head_and_tail_groups(counts, None, "step").tolist() == [MANY, MANY, FEW, FEW, FEW]
    assert head_and_tail_groups(counts, (100, 20), "step").tolist() == [MANY, MANY, FEW, FEW, FEW]
    for imbalance in ("exp", "step", "none"):
        assert len(set(head_and_tail_groups([7, 7, 7], None, imbalance).tolist())) == 1


def test_groups_need_images():
    for counts in ([], [5, 0], [[1, 2]]):
        with pytest.raises(UserError, match="each at least 1"):
            head_and_tail_groups(counts)
    with pytest.raises(UserError, match="many >= few"):
        head_and_tail_groups([5, 6], (20, 100))


@given(
    st.lists(st.integers(4, 60), min_size=2, max_size=6),
    st.sampled_from(["exp", "step", "none"]),
    st.integers(0, 5),
)
def test_what_is_held_out_is_of_every_class_and_not_trained_on(available, imbalance, seed):
    labels = np.random.default_rng(seed).permutation(labels_of(*available))
    choose = partial(long_tailed_indices, labels, imbalance, 1.5, seed)
    index, held_out = with_held_out(labels, choose, None, seed)
    assert len(set(index)) + len(set(held_out)) == len({*index, *held_out}) == len(index) + len(held_out)
    for part in (index, held_out):
        assert set(labels[part]) == set(range(len(available)))
    again = with_held_out(labels, choose, None, seed)
    assert np.array_equal(index, again[0])
    assert np.array_equal(held_out, again[1])


def test_of_balanced_data_a_tenth_of_the_largest_class_is_held_out_of_each():
    labels = labels_of(*[100] * 5)
    choose = partial(long_tailed_indices, labels, "exp", 10.0, 3)
    index, held_out = with_held_out(labels, choose, None, 3)
    assert np.array_equal(index, choose(max_class_size=90))
    assert np.bincount(labels[held_out]).tolist() == [10] * 5
    index, held_out = with_held_out(labels, choose, 50, 3)
    assert np.array_equal(index, choose(max_class_size=45))
    assert np.bincount(labels[held_out]).tolist() == [5] * 5


def test_a_class_of_one_image_cannot_be_validated():
    labels = labels_of(20, 1)
    index, held_out = with_held_out(labels, partial(long_tailed_indices, labels, "none"), None, 0)
    assert np.bincount(labels[index]).tolist() == [18, 1]
    assert labels[held_out].tolist() == [0, 0]
    labels = labels_of(1, 1)
    with pytest.raises(UserError, match="each class has one image only"):
        with_held_out(labels, partial(long_tailed_indices, labels, "none"), None, 0)
