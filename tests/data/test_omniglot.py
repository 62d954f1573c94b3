"""Omniglot as torchvision unpacks it: split, polarity, preparation, damage, runs."""

import dataclasses
import shutil

import numpy as np
import pytest
import torchvision
from PIL import Image
from real_formats import OMNIGLOT as ALPHABETS
from real_formats import write_omniglot
from spanned import tasks_of

from sla_bench.data.omniglot import OMNIGLOT
from sla_bench.errors import UserError
from sla_bench.registry import LEARNERS

DRAWINGS = 20


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A data root with one drawing of each character, not to be changed."""
    root = tmp_path_factory.mktemp("omniglot")
    write_omniglot(root)
    return root


@pytest.fixture
def own(files, tmp_path):
    """A copy that may be damaged."""
    shutil.copytree(files / "omniglot-py", tmp_path / "omniglot-py")
    return tmp_path


def test_the_split_is_lakes(files):
    background, evaluation = ALPHABETS["images_background"], ALPHABETS["images_evaluation"]
    assert (sum(background.values()), sum(evaluation.values())) == (964, 659)
    held_out = sorted(background)[-5:]
    assert held_out[1:] == ["Sanskrit", "Syriac_(Estrangelo)", "Tagalog", "Tifinagh"]
    wanted = {"train": set(background) - set(held_out), "val": set(held_out), "test": set(evaluation)}
    for split, alphabets in wanted.items():
        names = OMNIGLOT.load(split, "classes", files).class_names
        assert {name.split("/")[0] for name in names} == alphabets
        assert list(names) == sorted(names)
        assert len(names) == OMNIGLOT.classes[split]


def test_classes_of_training_serve_few_shot_learning_only(files):
    with pytest.raises(UserError, match=r"few-shot learning only; use fashion_mnist"):
        OMNIGLOT.load("train", "images", files)


def test_torchvision_reads_the_same_characters(tmp_path, monkeypatch):
    """Its pictures are black on white and 105 x 105; ours their negative at 28 x 28."""
    write_omniglot(tmp_path, size=105, characters=3)
    monkeypatch.setattr(torchvision.datasets.Omniglot, "_check_integrity", lambda self: True)
    theirs = torchvision.datasets.Omniglot(str(tmp_path), background=False)
    ours = dataclasses.replace(OMNIGLOT, classes={"test": 60}).load("test", "classes", tmp_path)
    assert len(ours) == len(theirs)
    for position in (0, 30, 59):
        picture, label = theirs[position]
        name = theirs._characters[label]
        resized = np.asarray(picture.convert("RGB").resize((28, 28), Image.Resampling.LANCZOS))
        (mine,) = np.flatnonzero(ours.labels == ours.class_names.index(name))
        np.testing.assert_array_equal(ours.images[mine], 255 - resized)


def test_the_border_is_black_as_the_padding_of_the_crop(tmp_path):
    """A drawing in the middle of the sheet leaves the border empty."""
    write_omniglot(tmp_path, characters=1)
    sheet = Image.new("1", (105, 105), 1)
    sheet.paste(0, (40, 40, 65, 65))
    for path in (tmp_path / "omniglot-py" / "images_evaluation").rglob("*.png"):
        sheet.save(path)
    images = dataclasses.replace(OMNIGLOT, classes={"test": 20}).load("test", "classes", tmp_path)
    assert images.grey
    assert images.images[:, 0].max() == images.images[:, :, -1].max() == 0
    assert images.images[:, 14, 14].min() == 255
    assert not OMNIGLOT.properties.flip
    assert OMNIGLOT.properties.jitter == 0


def remove_character(base):
    shutil.rmtree(base / "images_background" / "Greek" / "character07")


def remove_alphabet(base):
    shutil.rmtree(base / "images_background" / "Tagalog")


def empty_character(base):
    next((base / "images_background" / "Greek" / "character07").iterdir()).unlink()


def add_drawing(base):
    folder = base / "images_background" / "Greek" / "character07"
    shutil.copy(next(folder.iterdir()), folder / "0000_02.png")


def cut_drawing(base):
    path = next((base / "images_background" / "Greek" / "character07").iterdir())
    path.write_bytes(path.read_bytes()[:40])


def empty_part(base):
    shutil.rmtree(base / "images_background")
    (base / "images_background").mkdir()


def exchange(base):
    (base / "images_background").rename(base / "other")
    (base / "images_evaluation").rename(base / "images_background")
    (base / "other").rename(base / "images_evaluation")


DAMAGES = {
    "a character less": (remove_character, "must have 813 classes, found 812"),
    "no drawing": (empty_character, "character07 has no images"),
    "a drawing twice": (add_drawing, r"'Greek/character07' has 2"),
    "a cut drawing": (cut_drawing, r"cannot read the image .*Greek/character07"),
    "background and evaluation exchanged": (exchange, r"must have 813 classes, found"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(own, damage):
    change, words = DAMAGES[damage]
    change(own / "omniglot-py")
    with pytest.raises(UserError, match=words):
        OMNIGLOT.load("train", "classes", own)
    assert (own / "omniglot-py" / "images_background", "bad") in OMNIGLOT.verify(own)


@pytest.mark.parametrize("budget", ["smoke", "quick", "paper"])
@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("learner", LEARNERS.names())
def test_every_recipe_fits_twenty_drawings(budget, shots, learner):
    given = {"dataset": ["omniglot"], "learner": [learner], "shots": [shots], "ways": 20, "budget": budget}
    for task in tasks_of("fewshot", **given):
        run, (test,) = task.run, task.evaluations
        assert run.train_shots + run.train_queries <= DRAWINGS
        assert run.val_shots + 15 <= DRAWINGS
        assert test.shots + test.queries <= DRAWINGS
        assert run.train_ways == test.ways == 20
