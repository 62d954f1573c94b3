"""The characters of the glyph data sets, their splits and shapes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sla_bench.data.base import Split
from sla_bench.errors import UserError


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

# A superclass is a script or a family of signs, and a split is made of whole superclasses: test classes
# differ from training classes in style and in shape. No character has rotational symmetry, none
# looks like a quarter turn of another, and every character is in four fonts at least: the lists are frozen.
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


FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
)
"""Fonts that come with matplotlib; a random one of those that have the character draws each image."""

CANVAS = 56
GLYPH_SIDE = 36
"""Longest side of a shape within its canvas, in pixels."""

_POINTS = 64
_NO_CHARACTER = "\uffff"


class Font:
    """A TrueType font out of matplotlib's package.

    Args:
        name: of its file, without the extension.

    Raises:
        UserError: matplotlib's package lacks it.
    """

    def __init__(self, name: str) -> None:
        # Importing matplotlib takes a fifth of a second, and only rendering needs it.
        from matplotlib import get_data_path

        path = Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
        try:
            self._font = ImageFont.truetype(path, _POINTS, layout_engine=ImageFont.Layout.BASIC)
        except OSError:
            raise UserError(
                f"cannot read the font {path}, a part of matplotlib: install matplotlib again from PyPI"
            ) from None

    @cached_property
    def _placeholder(self) -> bytes:
        return bytes(self._font.getmask(_NO_CHARACTER))

    def has(self, character: str) -> bool:
        """Whether the font draws something of its own for this character."""
        mask = self._font.getmask(character)
        return mask.getbbox() is not None and bytes(mask) != self._placeholder

    def shape(self, character: str) -> np.ndarray:
        """Draw a character, centred, its longest side scaled to `GLYPH_SIDE`: uint8 (CANVAS, CANVAS)."""
        page = Image.new("L", (3 * _POINTS, 3 * _POINTS), 0)
        ImageDraw.Draw(page).text((1.5 * _POINTS, 1.5 * _POINTS), character, 255, self._font, anchor="mm")
        ink = page.crop(page.getbbox())
        scale = GLYPH_SIDE / max(ink.size)
        width, height = (max(1, round(side * scale)) for side in ink.size)
        smooth = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
        canvas = Image.new("L", (CANVAS, CANVAS), 0)
        canvas.paste(ink.resize((width, height), smooth), ((CANVAS - width) // 2, (CANVAS - height) // 2))
        return np.asarray(canvas)


def shapes_of(classes: Iterable[GlyphClass], folded: bool = False) -> list[np.ndarray]:
    """Shapes of each class in every font that has its character.

    Args:
        classes: K classes; their quarter turns are applied.
        folded: make ornaments of them (`fold`).

    Returns:
        K arrays uint8 (fonts, CANVAS, CANVAS), of the fonts that have the character.

    Raises:
        UserError: matplotlib's fonts are missing or lack a character.
    """
    fonts = [Font(name) for name in FONTS]
    shapes = []
    for glyph in classes:
        drawn = [font.shape(glyph.character) for font in fonts if font.has(glyph.character)]
        if not drawn:
            raise UserError(
                f"no font of matplotlib has U+{ord(glyph.character):04X}; install matplotlib again from PyPI"
            )
        stack = np.rot90(np.stack(drawn), glyph.quarter_turns, axes=(1, 2))
        shapes.append(fold(stack) if folded else stack)
    return shapes


# The corner of the glyph that lands in the middle of the ornament, relative to the centre of the canvas,
# and the step in the glyph for half a pixel in the ornament. Picked from a coarse grid, looking at the shapes
# of all classes, without training: 88 % of ornaments in DejaVu Serif correlate most with the one of their own
# character in DejaVu Sans (unfolded characters: 90 %; 73 characters that both fonts have).
_FOLD_ORIGIN = (-18, -22)
_FOLD_STEP = 1.1


def fold(shapes: np.ndarray) -> np.ndarray:
    """Make ornaments with the full symmetry of the square, as a kaleidoscope does.

    The wedge between the horizontal and the diagonal shows a part of the glyph, and seven mirror images of it
    fill the square, so every quarter turn and every reflection leaves the ornament equal to itself, pixel for
    pixel. (Superposing the turns of a glyph would do the same, but makes hooked crosses out of many letters.)

    Args:
        shapes: uint8 (n, CANVAS, CANVAS).

    Returns:
        uint8 (n, CANVAS, CANVAS), the ornament `GLYPH_SIDE` wide.
    """
    from_centre = np.abs(np.arange(2 * GLYPH_SIDE) - GLYPH_SIDE + 0.5)
    far = np.maximum(from_centre[:, None], from_centre[None, :])
    near = np.minimum(from_centre[:, None], from_centre[None, :])
    row, column = (
        np.clip(np.rint(distance * _FOLD_STEP + origin + (CANVAS - 1) / 2), 0, CANVAS - 1).astype(np.intp)
        for distance, origin in zip((near, far), _FOLD_ORIGIN, strict=True)
    )
    fine = shapes[:, row, column].reshape(len(shapes), GLYPH_SIDE, 2, GLYPH_SIDE, 2)
    margin = (CANVAS - GLYPH_SIDE) // 2
    coarse = (fine.sum(axis=(2, 4), dtype=np.uint16) + 2) // 4
    return np.pad(coarse.astype(np.uint8), ((0, 0), (margin, margin), (margin, margin)))
