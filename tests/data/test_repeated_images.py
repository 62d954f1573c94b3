import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sla_bench.data.folder_pictures import find_repeats

SPLITS = ("train", "val", "test")
IMAGES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(-1, 2)), max_size=25)


def found(images, parts=True):
    hashes, labels, places = np.array(images, np.int64).reshape(-1, 3).T
    return find_repeats(hashes.astype(np.uint64), labels, places if parts else None)


@given(IMAGES)
def test_counts_are_those_of_all_pairs(images):
    """Every image against every other, by the definition."""
    pairs = [(a, b) for a, b in itertools.permutations(range(len(images)), 2) if images[a][0] == images[b][0]]
    expected = {}
    for late, early in ((2, 0), (1, 0), (2, 1)):
        inside = {a for a, b in pairs if images[a][2] == late and images[b][2] == early}
        if inside:
            expected[f"of {SPLITS[late]} also in {SPLITS[early]}"] = len(inside)
    in_two = {images[a][0] for a, b in pairs if images[a][1] != images[b][1]}
    if in_two:
        expected["in two classes"] = len(in_two)
    got = found(images)
    assert {where: count for where, (count, _, _) in got.leaks.items()} == expected
    assert got.images == len({a for a, _ in pairs})
    assert got.pictures == len({images[a][0] for a, _ in pairs})
    for _, i, j in got.leaks.values():
        assert (i, j) in pairs


def test_without_parts_only_classes_are_compared():
    images = [(1, 0, 0), (1, 0, 2), (2, 0, 1), (2, 1, 1)]
    assert list(found(images, parts=False).leaks) == ["in two classes"]
    assert found(images).leaks == {"of test also in train": (1, 1, 0), "in two classes": (1, 2, 3)}


def test_the_sentence_names_the_first_of_each():
    images = [(5, 0, 0), (4, 0, 0), (4, 1, 2), (5, 0, 2)]
    names = ["a", "b", "c", "d"]
    (said,) = found(images).sentences(names)
    assert said.startswith("repeated images: 2 of test also in train (d = a); 1 in two classes (b = c); ")
    assert found(images).record(names)["of test also in train"] == {"count": 2, "example": ["d", "a"]}
    assert found(images[:2]).sentences(names) == []
