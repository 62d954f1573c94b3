import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sla_bench.data.splits import MIN_CLASSES, class_split_sizes, split_classes, split_images


@pytest.mark.parametrize(
    ("classes", "sizes"),
    [(6, (2, 2, 2)), (10, (4, 3, 3)), (15, (5, 5, 5)), (25, (15, 5, 5)), (100, (64, 16, 20))],
)  # fmt: skip
def test_sizes(classes, sizes):
    assert tuple(class_split_sizes(classes).values()) == sizes


def test_too_few_classes():
    with pytest.raises(ValueError, match="cannot be split"):
        class_split_sizes(MIN_CLASSES - 1)


@given(st.integers(MIN_CLASSES, 300), st.integers(0, 2**32))
def test_classes_are_a_partition_of_useful_parts(classes, seed):
    parts = list(split_classes(classes, seed).values())
    assert sorted(np.concatenate(parts).tolist()) == list(range(classes))
    assert min(map(len, parts)) >= 2
    assert len(parts[0]) >= max(len(parts[1]), len(parts[2]))


@given(
    st.lists(st.integers(3, 40), min_size=1, max_size=8),
    st.sampled_from([(0.7, 0.1, 0.2), (11 / 12, 1 / 12), (0.1, 0.1, 0.8)]),
    st.integers(0, 1000),
)
def test_images_are_a_partition_and_every_part_has_every_class(counts, fractions, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = split_images(labels, fractions, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part, fraction in zip(parts, fractions, strict=True):
        assert np.all(np.diff(part) > 0)
        found = np.bincount(labels[part], minlength=len(counts))
        assert found.min() >= 1
        assert np.all(np.abs(found - fraction * np.array(counts)) <= 1.5 + 0.1 * len(parts))


def test_the_seed_decides():
    labels = np.repeat(np.arange(3), 50)
    a, b, c = (split_images(labels, (0.5, 0.5), seed)[1].tolist() for seed in (0, 0, 1))
    assert a == b != c


def test_a_class_with_too_few_images():
    with pytest.raises(ValueError, match="class 1 has 2 images for 3 parts"):
        split_images(np.array([0, 0, 0, 1, 1]), (0.7, 0.1, 0.2), 0)
