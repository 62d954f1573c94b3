"""Parts of classes and images: drawn by a seed, published, or named by position."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_formats import FINE, fc100_names

from sla_bench.data.class_lists import (
    SPLITS,
    check_classes,
    cifar100_names,
    cifar_fs_labels,
    fc100_labels,
    mini_imagenet_wnids,
)
from sla_bench.data.splits import (
    MIN_CLASSES,
    check_range,
    class_split_sizes,
    read_hashed,
    read_indices,
    split_classes,
    split_images,
    with_hash,
)
from sla_bench.errors import UserError


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


def test_cifar100_names_are_those_of_its_table_of_superclasses():
    assert cifar100_names() == tuple(FINE)


def test_fc100_splits_by_superclass():
    for split in SPLITS:
        assert [FINE[label] for label in fc100_labels(split)] == fc100_names(split)


@pytest.mark.parametrize(
    ("classes_of", "sizes", "whole"),
    [
        (fc100_labels, (60, 20, 20), set(range(100))),
        (cifar_fs_labels, (64, 16, 20), set(range(100))),
        (mini_imagenet_wnids, (64, 16, 20), None),
    ],
)
def test_splits_are_disjoint_sorted_and_complete(classes_of, sizes, whole):
    lists = [classes_of(split) for split in SPLITS]
    assert tuple(map(len, lists)) == sizes
    union = set().union(*lists)
    assert len(union) == 100
    assert whole in (None, union)
    assert all(list(members) == sorted(members) for members in lists)


def test_some_classes_are_where_the_papers_put_them():
    # Bertinetto et al.'s test.txt begins baby, bed, bicycle, chimpanzee; Ravi and Larochelle test on lions
    # (n02129165) and golden retrievers (n02099601), and train on robins (n01558993) and walker hounds.
    assert [FINE[label] for label in cifar_fs_labels("test")][:4] == ["baby", "bed", "bicycle", "chimpanzee"]
    assert {"n02129165", "n02099601"} <= set(mini_imagenet_wnids("test"))
    assert {"n01558993", "n02089867"} <= set(mini_imagenet_wnids("train"))


def test_check_classes_says_what_is_wrong():
    lists = {"train": (1, 2, 3), "val": (4, 5), "test": (6, 7)}
    check_classes(frozenset((4, 5)), "val", lists, "file")
    with pytest.raises(UserError, match="file holds the test classes where the val classes belong"):
        check_classes(frozenset((6, 7)), "val", lists, "file")
    with pytest.raises(UserError, match="1 missing and 1 that do not belong there, for example 5"):
        check_classes(frozenset((4, 6)), "val", lists, "file")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(st.integers(0, 2**40), min_size=1, unique=True))
def test_every_format_says_the_same_and_the_hash_is_of_the_content(wanted, tmp_path):
    np.save(tmp_path / "a.npy", np.array(wanted))
    (tmp_path / "a.json").write_text(json.dumps(wanted[::-1]))
    (tmp_path / "a.txt").write_text("".join(f" {i}\r\n\n" for i in wanted))
    hashes = set()
    for name in ("a.npy", "a.json", "a.txt"):
        assert read_indices(tmp_path / name).tolist() == sorted(wanted)
        hashes.add(with_hash(str(tmp_path / name)).rpartition("#")[2])
    assert len(hashes) == 1


def test_a_hash_that_is_said_is_kept_and_checked(tmp_path):
    file = tmp_path / "a#b.txt"
    file.write_text("4\n2\n")
    named = with_hash(str(file))
    assert with_hash(named) == named
    index, path = read_hashed(named)
    assert (index.tolist(), path) == ([2, 4], file)
    file.unlink()
    assert with_hash(named) == named
    with pytest.raises(UserError, match=r"a#b\.txt: it can't be read: No such file"):
        read_hashed(named)


def array_file(path, array):
    np.save(path, array, allow_pickle=True)


BAD = {
    "empty.txt": (lambda p: p.write_text("\n \n"), "it is empty"),
    "twice.npy": (lambda p: array_file(p, np.array([3, 3])), "position 3 is given more than once"),
    "negative.json": (lambda p: p.write_text("[3, -1]"), "positions count from 0, found -1"),
    "words.txt": (lambda p: p.write_text("1\ntwo\n"), "line 2 is 'two'"),
    "fractions.npy": (lambda p: array_file(p, np.array([1.0])), "found float64 (1,)"),
    "objects.npy": (lambda p: array_file(p, np.array([{}])), "positions must be whole numbers: "),
    "cut.npy": (lambda p: p.write_bytes(b"\x93NUMPY\x01"), "positions must be whole numbers: "),
    "truth.json": (lambda p: p.write_text("[1, true]"), "a JSON list of them is wanted"),
    "cut.json": (lambda p: p.write_text("[1, 2"), "positions must be whole numbers: Expecting"),
    "picture.txt": (lambda p: p.write_bytes(b"\xff\xd8\xff\xe0"), "it is not text"),
    "missing.txt": (lambda p: None, "it can't be read: No such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_list_of_positions_is_refused_with_the_file(name, tmp_path):
    write, what = BAD[name]
    write(tmp_path / name)
    with pytest.raises(UserError) as error:
        read_indices(tmp_path / name)
    assert what in str(error.value)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_positions_beyond_the_images_are_refused(tmp_path):
    check_range(np.array([0, 9]), 10, tmp_path)
    with pytest.raises(UserError, match="10 training images, position 10 is out of range"):
        check_range(np.array([0, 10]), 10, tmp_path)
