"""The characters of the glyph data sets, by class and split."""

# A superclass is a script or a family of signs, and a split is made of whole superclasses, so test classes
# differ from training classes in style as well as in shape. The lists are part of the definition of the data
# sets and frozen: no character has rotational symmetry and none looks like a quarter turn of another one
# (`tests/glyph_similarity.py` measures it, a test holds it), and every character is in at least four fonts.

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile

from sla_bench.data.base import Split


@dataclass(frozen=True)
class GlyphClass:
    """One class.

    Args:
        superclass: the script or family of signs, ASCII.
        character: the code point whose shape is drawn.
        short_name: its Unicode name without what all of the superclass begin with, ASCII.
        quarter_turns: counter-clockwise turns of the shape.
    """

    superclass: str
    character: str
    short_name: str
    quarter_turns: int = 0

    @property
    def name(self) -> str:
        """`superclass/short_name`: greek_small/alpha, digit/two."""
        return f"{self.superclass}/{self.short_name}"


ClassList = Mapping[Split, tuple[GlyphClass, ...]]

_CHARACTERS: Mapping[Split, Mapping[str, str]] = {
    "train": {
        "latin_capital": "GRKQT",
        "latin_small": "efhkr",
        "greek_capital": "ΔΛΣΨΩ",
        "greek_small": "αδζλψ",
        "cyrillic_capital": "ДУЦЮЯ",
        "armenian_capital": "ԲԴԷՀՁ",
        "armenian_small": "բդթձճ",
        "georgian": "ბგკლრ",
        "digit": "23457",
        "punctuation": "&?¶‽‰",
        "mathematics": "∈∂√∡∴",
        "chess": "♔♕♘♙♟",
    },
    "val": {
        "latin_extended": "ŁßÆðÇ",
        "cyrillic_extended": "ЄЉЋѢҖ",
        "lao": "ກຈຖນມ",
        "planet": "♀♂♃♄♅",
    },
    "test": {
        "hebrew": "בהלעש",
        "arabic": "جسطعك",
        "georgian_capital": "ႡႦႨႫႮ",
        "zodiac": "♈♉♌♍♑",
    },
}

# The character that stands for its superclass where there is one class for each.
_REPRESENTATIVES = "KfΨζЮՀթკ4&√♘ÆҖຈ♃שطႫ♌"

# Folded, Λ and Δ are nearly equal ornaments, and so are Q and the Armenian Ja.
_OTHER_WHEN_FOLDED = str.maketrans("ΛQ", "ΠU")


def _superclass(superclass: str, characters: str) -> tuple[GlyphClass, ...]:
    names = [unicodedata.name(c).lower() for c in characters]
    by_position = zip(*(name.split() for name in names), strict=False)
    shared = len(list(takewhile(lambda words: len(set(words)) == 1, by_position)))
    return tuple(
        GlyphClass(superclass, character, " ".join(name.split()[shared:]))
        for character, name in zip(characters, names, strict=True)
    )


def _class_list(characters: Mapping[Split, Mapping[str, str]]) -> ClassList:
    return {
        split: tuple(c for name, members in superclasses.items() for c in _superclass(name, members))
        for split, superclasses in characters.items()
    }


def _one_per_superclass(classes: ClassList) -> ClassList:
    return {split: tuple(c for c in row if c.character in _REPRESENTATIVES) for split, row in classes.items()}


def _with_turned_partners(characters: Mapping[Split, Mapping[str, str]]) -> ClassList:
    """Every second superclass, each followed by one of the same characters a quarter turn on."""
    paired: dict[Split, tuple[GlyphClass, ...]] = {}
    for split, superclasses in characters.items():
        upright = [_superclass(name, members) for name, members in list(superclasses.items())[::2]]
        paired[split] = tuple(c for members in upright for c in (*members, *map(_turned, members)))
    return paired


def _turned(glyph: GlyphClass) -> GlyphClass:
    return replace(glyph, superclass=f"{glyph.superclass}_turned", quarter_turns=1)


GLYPH_CLASSES = _class_list(_CHARACTERS)
GLYPH20_CLASSES = _one_per_superclass(GLYPH_CLASSES)
PAIRED_CLASSES = _with_turned_partners(_CHARACTERS)
FOLDED_CLASSES = _class_list(
    {
        split: {name: members.translate(_OTHER_WHEN_FOLDED) for name, members in superclasses.items()}
        for split, superclasses in _CHARACTERS.items()
    }
)
