"""Names that mean training, validation or test: Train, valid, dev, novel."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from sla_bench.data.base import Split

_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trainval", "trn", "base"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "devel", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "novel"), "test"),
}
_EVALUATION = frozenset({"eval", "evaluation", "holdout", "heldout"})
_FILLERS = (
    "set", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "photo",
    "photos", "split", "splits", "part", "meta", "label", "labels", "list", "lists", "file", "files",
    "annotation", "annotations", "metadata",
)  # fmt: skip


def words_of(name: str) -> list[str]:
    """Words of a name in small letters: `trainLabels2` -> train, labels; digits and signs separate."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    return [word.casefold() for word in re.findall(r"[^\W\d_]+", spaced)]


def is_filler(word: str) -> bool:
    """The word says nothing about the part, like "set" or "images"."""
    return word in _FILLERS


def part_of(name: str) -> Split | None:
    """The part that a name means; None where it means none."""
    return roles([name]).get(name)


def roles(names: Iterable[str]) -> dict[str, Split]:
    """The names that mean a part, of several beside each other, with the part.

    "eval" is the validation part or, where there is a validation part, the test part.
    """
    found: dict[str, Split] = {}
    undecided = []
    for name in names:
        words = [word for word in map(_stripped, words_of(name)) if word and not is_filler(word)]
        if len(words) == 1 and words[0] in _WORDS:
            found[name] = _WORDS[words[0]]
        elif len(words) == 1 and words[0] in _EVALUATION:
            undecided.append(name)
    for name in undecided:
        taken = set(found.values())
        found[name] = "val" if "val" not in taken else "test"
    return found


def _stripped(word: str) -> str:
    """`trainset` -> train."""
    for filler in _FILLERS:
        rest = word.removesuffix(filler)
        if rest in _WORDS:
            return rest
    return word
