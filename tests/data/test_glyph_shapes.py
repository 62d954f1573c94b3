import numpy as np
import pytest
from glyph_similarity import turned_similarity

from sla_bench.data import glyph_shapes
from sla_bench.data.glyph_shapes import (
    CANVAS,
    FOLDED_CLASSES,
    FONTS,
    GLYPH20_CLASSES,
    GLYPH_CLASSES,
    GLYPH_SIDE,
    PAIRED_CLASSES,
    Font,
    GlyphClass,
    shapes_of,
)
from sla_bench.errors import UserError

LISTS = {
    "glyphs": (GLYPH_CLASSES, 5),
    "glyphs20": (GLYPH20_CLASSES, 1),
    "pairs": (PAIRED_CLASSES, 5),
    "sym": (FOLDED_CLASSES, 5),
}


def all_of(classes):
    return [glyph for split in classes.values() for glyph in split]


def sans(characters):
    font = Font("DejaVuSans")
    return np.stack([font.shape(character) for character in characters])


def between_classes(similarity):
    return np.where(np.eye(similarity.shape[-1], dtype=bool), -1, similarity)


@pytest.mark.parametrize("name", LISTS)
def test_splits_hold_whole_superclasses(name):
    classes, size = LISTS[name]
    superclasses = {split: [glyph.superclass for glyph in row] for split, row in classes.items()}
    assert {split: len(set(found)) for split, found in superclasses.items()} == {
        "train": 12,
        "val": 4,
        "test": 4,
    }
    for found in superclasses.values():
        assert all(found.count(one) == size for one in found)
    assert len({one for found in superclasses.values() for one in set(found)}) == 20
    names = [glyph.name for glyph in all_of(classes)]
    assert len(set(names)) == len(names)
    assert all(text.isascii() for text in names)


def test_pairs_are_every_class_and_its_quarter_turn_in_the_same_split():
    for row in PAIRED_CLASSES.values():
        upright = {glyph.character for glyph in row if glyph.quarter_turns == 0}
        turned = {glyph.character for glyph in row if glyph.quarter_turns == 1}
        assert upright == turned
        assert len(upright) + len(turned) == len(row)


def test_every_character_is_in_the_sans_font_and_three_others():
    classes = all_of(GLYPH_CLASSES) + all_of(FOLDED_CLASSES)
    assert all(Font("DejaVuSans").has(glyph.character) for glyph in classes)
    assert min(len(shapes) for shapes in shapes_of(classes)) >= 4


def test_a_shape_is_centred_and_scaled_to_its_longest_side():
    for shape in sans("K√♘"):
        rows, columns = np.nonzero(shape.any(axis=1))[0], np.nonzero(shape.any(axis=0))[0]
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        assert GLYPH_SIDE - 1 <= extent <= GLYPH_SIDE
        for place in (rows, columns):
            assert abs(place.min() + place.max() - (CANVAS - 1)) <= 2


def test_no_class_has_rotational_symmetry_or_is_a_quarter_turn_of_another():
    similarity = turned_similarity(sans([glyph.character for glyph in all_of(GLYPH_CLASSES)]))
    with_own_turns = np.diagonal(similarity[1:], axis1=1, axis2=2)
    assert with_own_turns.max() < 0.78
    assert between_classes(similarity[1:]).max() < 0.82
    assert between_classes(similarity[0]).max() < 0.90


@pytest.mark.parametrize(
    ("one", "other", "turns"), [("δ", "g", 2), ("♉", "∝", 1), ("Ⴆ", "զ", 2), ("գ", "զ", 0)]
)
def test_the_measure_finds_look_alikes(one, other, turns):
    assert turned_similarity(sans([one, other]))[turns, 0, 1] > (0.82 if turns else 0.90)


@pytest.mark.parametrize("character", "ՕօOXНИ")
def test_the_measure_finds_symmetric_characters(character):
    assert turned_similarity(sans([character]))[2, 0, 0] > 0.78


def test_similarity_is_one_for_the_turn_that_was_made_and_takes_a_shift_of_one_drawn_pixel():
    shape = sans("R")[0]
    moved = np.roll(np.rot90(shape, 3), 2, axis=0)
    similarity = turned_similarity(np.stack([shape, moved]))
    assert similarity[1, 0, 1] == pytest.approx(1)
    assert similarity[3, 1, 0] == pytest.approx(1)
    assert similarity[0, 0, 1] < 0.9


def test_partners_are_exact_quarter_turns_in_every_font():
    classes = all_of(PAIRED_CLASSES)
    shapes = dict(zip([glyph.name for glyph in classes], shapes_of(classes), strict=True))
    for glyph in classes:
        if glyph.quarter_turns:
            upright = shapes[glyph.name.replace("_turned/", "/")]
            turned = np.stack([np.rot90(shape) for shape in upright])
            assert np.array_equal(shapes[glyph.name], turned)


def test_ornaments_equal_their_turns_and_mirror_images_and_differ_from_each_other():
    ornaments = shapes_of(all_of(FOLDED_CLASSES), folded=True)
    for stack in ornaments:
        assert np.array_equal(stack, np.rot90(stack, 1, axes=(1, 2)))
        assert np.array_equal(stack, stack[:, :, ::-1])
        assert stack.any(axis=(1, 2)).all()
    similarity = turned_similarity(np.stack([stack[0] for stack in ornaments]))
    assert between_classes(similarity[0]).max() < 0.90


def test_an_unknown_character_is_refused():
    with pytest.raises(UserError, match=r"no font of matplotlib has U\+4E00"):
        shapes_of([GlyphClass("han", "一", "one")])


def test_a_missing_font_is_refused(monkeypatch):
    monkeypatch.setattr(glyph_shapes, "FONTS", (*FONTS, "Missing"))
    with pytest.raises(UserError, match=r"Missing\.ttf.*install matplotlib again"):
        shapes_of(all_of(GLYPH20_CLASSES))
