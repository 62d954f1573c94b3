import pytest
from real_formats import COARSE_OF, FINE, SUPERCLASSES, fc100_names

from sla_bench.data.class_lists import (
    SPLITS,
    check_classes,
    cifar100_names,
    cifar_fs_labels,
    fc100_labels,
    mini_imagenet_wnids,
)
from sla_bench.errors import UserError


def test_cifar100_names_are_those_of_its_table_of_superclasses():
    names = cifar100_names()
    assert names.fine == tuple(FINE)
    assert names.coarse == tuple(SUPERCLASSES)
    assert [COARSE_OF[name] for name in FINE] == list(names.fine_to_coarse)


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
