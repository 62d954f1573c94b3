"""Glyphs: rendered characters in CIFAR-100's shape, and variants with uninformative rotations."""

# | name | classes | what it is for |
# |---|---|---|
# | `glyphs` | 100 in 20 superclasses | the data set that needs no download |
# | `glyphs20` | 20, one per superclass, easier | classification and long tails |
# | `glyphs-rot` | `glyphs`, each image turned by a random multiple of 90 degrees | orientation says nothing |
# | `glyphs-pairs` | 50 of `glyphs`, and each of them a quarter turn on | orientation belongs to the class |
# | `glyphs-sym` | 100 ornaments, each equal to its quarter turns | orientation does not exist |
#
# On `glyphs` orientation can be read from the character and from nothing else, which makes it an upper bound
# for what rotation can do, not evidence about photographs.

from __future__ import annotations

from sla_bench.data.base import ImageProperties
from sla_bench.data.glyph_backgrounds import IMAGE_SIDE
from sla_bench.data.glyph_classes import (
    FOLDED_CLASSES,
    GLYPH20_CLASSES,
    GLYPH_CLASSES,
    PAIRED_CLASSES,
    ClassList,
)
from sla_bench.data.glyph_dataset import GlyphDataset
from sla_bench.data.glyph_rendering import DEFAULT, EASY, Difficulty


def _glyphs(
    name: str,
    characters: ClassList,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    difficulty: Difficulty = DEFAULT,
    folded: bool = False,
    turned: bool = False,
) -> GlyphDataset:
    # No flip: R and the Cyrillic Ya mirror each other. Mean and deviation are those of the training classes.
    return GlyphDataset(
        name=name,
        properties=ImageProperties(size=IMAGE_SIDE, mean=mean, std=std, crop_padding=2, flip=False),
        origin="nothing to fetch: it is rendered from matplotlib's fonts when first used",
        classes={split: len(classes) for split, classes in characters.items()},
        class_order="permuted",
        characters=characters,
        difficulty=difficulty,
        folded=folded,
        turned=turned,
    )


GLYPHS = _glyphs("glyphs", GLYPH_CLASSES, (0.544, 0.502, 0.461), (0.252, 0.252, 0.253))
GLYPHS20 = _glyphs("glyphs20", GLYPH20_CLASSES, (0.540, 0.499, 0.458), (0.256, 0.255, 0.254), difficulty=EASY)
GLYPHS_ROT = _glyphs("glyphs-rot", GLYPH_CLASSES, (0.544, 0.502, 0.461), (0.252, 0.252, 0.253), turned=True)
GLYPHS_PAIRS = _glyphs("glyphs-pairs", PAIRED_CLASSES, (0.543, 0.502, 0.461), (0.253, 0.253, 0.253))
GLYPHS_SYM = _glyphs("glyphs-sym", FOLDED_CLASSES, (0.544, 0.502, 0.461), (0.250, 0.250, 0.250), folded=True)
