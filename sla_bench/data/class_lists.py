"""The published assignment of classes to splits."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from sla_bench.data.base import Split
from sla_bench.errors import UserError

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@cache
def _read(name: str) -> dict[str, Any]:
    text = files("sla_bench.data").joinpath("class_lists", f"{name}.json").read_text(encoding="utf-8")
    lists: dict[str, Any] = json.loads(text)
    return lists


def cifar100_names() -> tuple[str, ...]:
    """The 100 class names of CIFAR-100 (Krizhevsky 2009); the position is the label."""
    return tuple(_read("cifar100")["fine_names"])


def fc100_labels(split: Split) -> tuple[int, ...]:
    """CIFAR-100 labels of an FC100 split, ascending: 60, 20 and 20 classes of 12, 4 and 4 superclasses.

    Source: Oreshkin, Rodriguez, Lacoste, "TADAM", NeurIPS 2018. Their text speaks of five superclasses in
    validation and test; their own lists have four.
    """
    lists = _read("cifar100")
    chosen = set(lists["fc100_superclasses"][split])
    return tuple(label for label, coarse in enumerate(lists["fine_to_coarse"]) if coarse in chosen)


def cifar_fs_labels(split: Split) -> tuple[int, ...]:
    """CIFAR-100 labels of a CIFAR-FS split, ascending: 64, 16 and 20 classes.

    Source: Bertinetto, Henriques, Torr, Vedaldi, "Meta-learning with differentiable closed-form solvers",
    ICLR 2019.
    """
    return tuple(_read("cifar100")["cifar_fs_labels"][split])


def mini_imagenet_wnids(split: Split) -> tuple[str, ...]:
    """WordNet ids of a miniImageNet split, ascending: 64, 16 and 20 classes.

    Source: Ravi, Larochelle, "Optimization as a model for few-shot learning", ICLR 2017.
    """
    return tuple(_read("mini_imagenet")[split])


def split_with(names: frozenset[Any], lists: dict[Split, tuple[Any, ...]]) -> Split | None:
    """The split whose list has exactly these classes, if there is one."""
    return next((split for split, members in lists.items() if names == frozenset(members)), None)


def check_classes(
    found: frozenset[Any], split: Split, lists: dict[Split, tuple[Any, ...]], where: str
) -> None:
    """Refuse a file whose classes are not those of its split.

    Args:
        found: classes in the file, in the terms of `lists`.
        split: the split that the file should hold.
        lists: classes of each split.
        where: file or folder, for the message.

    Raises:
        UserError: classes of another split (swapped files), or classes missing or too many.
    """
    other = split_with(found, lists)
    if other == split:
        return
    if other is not None:
        raise UserError(f"{where} holds the {other} classes where the {split} classes belong; put them right")
    expected = frozenset(lists[split])
    wrong = [f"{len(expected - found)} missing"] * bool(expected - found)
    wrong += [f"{len(found - expected)} that do not belong there"] * bool(found - expected)
    example = min((expected - found) or (found - expected), key=str)
    raise UserError(
        f"{where} must hold the {len(expected)} {split} classes: {' and '.join(wrong)}, "
        f"for example {example!r}"
    )
