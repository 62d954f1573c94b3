"""Data sets of glyphs, rendered once."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from sla_bench.data.glyphs import (
    GLYPHS,
    GLYPHS20,
    GLYPHS_PAIRS,
    GLYPHS_ROT,
    GLYPHS_SYM,
    GlyphDataset,
    turn_each,
)
from sla_bench.errors import UserError
from sla_bench.registry import DATASETS

ALL = {one.name: one for one in (GLYPHS, GLYPHS20, GLYPHS_ROT, GLYPHS_PAIRS, GLYPHS_SYM)}
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def glyphs():
    return GLYPHS.reduced(20, 4)


@pytest.mark.parametrize("name", ALL)
def test_the_registry_names_it(name):
    assert DATASETS.load(name) is ALL[name]
    assert ALL[name].properties.size == 32
    assert ALL[name].properties.crop_padding == 2
    assert not ALL[name].properties.flip
    assert ALL[name].properties.jitter == 0
    assert ALL[name].images_per_class == (500, 100)


@pytest.mark.parametrize("name", ALL)
def test_splits_by_classes_are_disjoint_and_hold_all_images_of_their_classes(name, root):
    dataset = ALL[name].reduced(20, 4)
    unit = 1 if name == "glyphs20" else 5
    splits = {split: dataset.load(split, "classes", root) for split in SPLITS}
    assert {split: images.num_classes for split, images in splits.items()} == {
        "train": 12 * unit,
        "val": 4 * unit,
        "test": 4 * unit,
    }
    assert dataset.classes == {split: images.num_classes for split, images in splits.items()}
    names = [name for images in splits.values() for name in images.class_names]
    assert len(set(names)) == 20 * unit
    for images in splits.values():
        assert images.images.shape[1:] == (32, 32, 3)
        assert set(images.class_counts) == {24}


@pytest.mark.parametrize("name", ["glyphs", "glyphs20"])
def test_splits_by_images_share_the_classes_and_no_image(name, root):
    dataset = ALL[name].reduced(20, 4)
    splits = {split: dataset.load(split, "images", root) for split in SPLITS}
    assert {split: set(images.class_counts) for split, images in splits.items()} == {
        "train": {18},
        "val": {2},
        "test": {4},
    }
    assert len({images.class_names for images in splits.values()}) == 1
    distinct = {image.tobytes() for images in splits.values() for image in images.images}
    by_classes = {image.tobytes() for s in SPLITS for image in dataset.load(s, "classes", root).images}
    assert len(distinct) == 24 * splits["train"].num_classes
    assert distinct == by_classes


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(glyphs, root, tmp_path):
    first = glyphs.load("test", "classes", root)
    again = glyphs.load("test", "classes", tmp_path)
    other = replace(glyphs, seed=1).load("test", "classes", tmp_path)
    assert again.checksum == first.checksum
    assert other.checksum != first.checksum
    assert np.mean(np.all(other.images == first.images, axis=(1, 2, 3))) == 0


def test_classes_are_drawn_independently(root):
    images = GLYPHS.reduced(20, 4).load("train", "classes", root).images.astype(float)
    # Equal noise would show as equal corner pixels in the images at equal places of two classes.
    corners = images[:, 0, 0, 0].reshape(60, 24)
    correlation = np.corrcoef(corners)[np.triu_indices(60, 1)]
    assert abs(correlation.mean()) < 0.05


@pytest.mark.parametrize("name", ALL)
def test_mean_and_deviation_are_those_of_the_training_classes(name, root):
    dataset = ALL[name]
    dataset = dataset.reduced(80, 20) if name == "glyphs20" else dataset.reduced(20, 4)
    pixels = dataset.load("train", "classes", root).images / 255.0
    assert pixels.mean(axis=(0, 1, 2)) == pytest.approx(dataset.properties.mean, abs=0.02)
    assert pixels.std(axis=(0, 1, 2)) == pytest.approx(dataset.properties.std, abs=0.015)


@pytest.mark.campaign
@pytest.mark.parametrize("name", ALL)
def test_mean_and_deviation_are_those_of_all_training_images(name, tmp_path):
    dataset = ALL[name]
    images = dataset.load("train", "classes", tmp_path).images
    total, squares = np.zeros(3), np.zeros(3)
    for start in range(0, len(images), 2000):
        block = images[start : start + 2000] / 255.0
        total += block.sum(axis=(0, 1, 2))
        squares += (block**2).sum(axis=(0, 1, 2))
    mean = total / (len(images) * 1024)
    assert mean == pytest.approx(dataset.properties.mean, abs=0.002)
    deviation = np.sqrt(squares / (len(images) * 1024) - mean**2)
    assert deviation == pytest.approx(dataset.properties.std, abs=0.002)


def test_turn_each_turns_as_numpy_does():
    images = np.random.default_rng(0).integers(0, 256, (40, 5, 5, 3), np.uint8)
    turns = np.arange(40) % 4
    for turned, image, k in zip(turn_each(images, turns), images, turns, strict=True):
        assert np.array_equal(turned, np.rot90(image, k))


def test_glyphs_rot_is_glyphs_with_every_image_turned_at_random(glyphs, root):
    rotated = GLYPHS_ROT.reduced(*glyphs.images_per_class)
    turns = []
    for split in SPLITS:
        upright, turned = glyphs.load(split, "classes", root), rotated.load(split, "classes", root)
        assert turned.class_names == upright.class_names
        matches = np.stack(
            [
                (np.rot90(upright.images, k, axes=(1, 2)) == turned.images).all(axis=(1, 2, 3))
                for k in range(4)
            ],
            axis=1,
        )
        assert np.array_equal(matches.sum(axis=1), np.ones(len(upright)))
        turns.append(matches.argmax(axis=1))
    counts = np.bincount(np.concatenate(turns), minlength=4)
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert chi_square < 16.3  # 0.999 quantile for 3 degrees of freedom
    for label in range(60):
        assert len(set(turns[0][label * 24 : label * 24 + 24])) >= 3


def energy(images):
    """Per image, how far each pixel is from the median, in 0..1; the class shows in its mean."""
    values = images.astype(float)
    distance = np.abs(values - np.median(values, axis=(1, 2), keepdims=True)).mean(axis=3)
    return distance / distance.max(axis=(1, 2), keepdims=True)


def mean_square_z(one, other):
    """About 1 if the two samples (n, 32, 32) have the same mean at each pixel, larger if not."""
    error = one.var(axis=0) / len(one) + other.var(axis=0) / len(other)
    return np.mean((one.mean(axis=0) - other.mean(axis=0)) ** 2 / error)


def some_classes(dataset, characters):
    """Enough images of a few training classes, without clutter, to compare their means."""
    chosen = {
        split: tuple(c for c in row if c.character in characters) if split == "train" else row[:1]
        for split, row in dataset.characters.items()
    }
    clean = replace(
        dataset.difficulty,
        gradient=0.0,
        texture=0.0,
        stroke_opacity=(0.0, 0.0),
        patch_probability=0.0,
        noise=(0.0, 1.0),
        shift=1.0,
    )
    return replace(dataset, characters=chosen, difficulty=clean, images_per_class=(300, 100))


def by_class(images):
    return {name: energy(images.images[images.labels == k]) for k, name in enumerate(images.class_names)}


def test_in_glyphs_pairs_a_class_is_the_quarter_turn_of_its_partner(root):
    maps = by_class(some_classes(GLYPHS_PAIRS, "RΨ4√").load("train", "classes", root))
    partners = [name for name in maps if "_turned/" not in name]
    assert len(partners) == 4
    for name in partners:
        upright, turned = maps[name], maps[name.replace("/", "_turned/")]
        z = [mean_square_z(np.rot90(upright, k, axes=(1, 2)), turned) for k in range(4)]
        assert z[1] < 2
        assert min(z[0], z[2], z[3]) > 8


def test_in_glyphs_sym_a_class_is_its_own_quarter_turn_and_in_glyphs_it_is_not(root):
    def worst_and_best(dataset):
        maps = by_class(some_classes(dataset, "RΨ4√").load("train", "classes", root)).values()
        z = [mean_square_z(np.rot90(m[::2], k, axes=(1, 2)), m[1::2]) for m in maps for k in (1, 2, 3)]
        return max(z), min(z)

    assert worst_and_best(GLYPHS_SYM)[0] < 2
    assert worst_and_best(GLYPHS)[1] > 5


def test_what_changes_the_pixels_changes_the_folder(glyphs, root, monkeypatch):
    variants = [
        glyphs,
        replace(glyphs, seed=1),
        glyphs.reduced(20, 5),
        replace(glyphs, difficulty=GLYPHS20.difficulty),
        replace(glyphs, turned=True),
        replace(glyphs, characters=GLYPHS_PAIRS.characters),
    ]
    folders = {variant._folder(root) for variant in variants}
    assert len(folders) == len(variants)
    monkeypatch.setattr("sla_bench.data.glyphs.library_versions", lambda: {"Pillow": "0"})
    assert glyphs._folder(root) not in folders
    monkeypatch.setattr("sla_bench.data.glyphs._program_digest", lambda: "another")
    assert glyphs._folder(root) not in folders


FEW = GLYPHS20.reduced(3, 1)


@pytest.fixture
def folder(tmp_path):
    """Of a data set of which the training classes are rendered."""
    FEW.load("train", "classes", tmp_path)
    (folder,) = (tmp_path / "prepared").glob("glyphs20-*/")
    return folder


def load(folder):
    return FEW.load("train", "classes", folder.parents[1])


@pytest.fixture
def refuse(monkeypatch):
    def refuse(*args, **more):
        raise AssertionError("it renders")

    monkeypatch.setattr(GlyphDataset, "_render", refuse)


def test_images_are_rendered_once_and_opened_as_private_maps(folder, refuse):
    images = load(folder).images
    assert isinstance(images, np.memmap)
    before = images[0].copy()
    images[0] = 255
    assert np.array_equal(load(folder).images[0], before)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "train.npy").write_bytes((folder / "train.npy").read_bytes()[:100]),
        lambda folder: (folder / "train.npy").unlink(),
        lambda folder: (folder / "train.json").unlink(),
        lambda folder: (folder / "train.json").write_text(""),
        lambda folder: (folder / "train.json").write_text('["not", "ours"]'),
    ],
)
def test_damaged_files_are_rendered_again(folder, damage):
    before = load(folder).checksum
    damage(folder)
    assert load(folder).checksum == before
    assert sorted(path.name for path in folder.iterdir()) == ["train.json", "train.npy"]


def test_an_altered_map_is_found_by_verify(folder):
    assert [status for _, status in FEW.verify(folder.parents[1])] == ["ok"]
    with (folder / "train.npy").open("r+b") as file:
        file.seek(-5, 2)
        file.write(b"\x07")
    assert [status for _, status in FEW.verify(folder.parents[1])] == ["bad"]


def test_a_data_root_that_is_a_file_is_said_in_one_line(tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(UserError, match=r"root.*Not a directory.*--data-root"):
        FEW.load("train", "classes", tmp_path / "root")


PROGRAM = """
import sys
from pathlib import Path
from sla_bench.data.glyphs import GLYPHS20
print(GLYPHS20.reduced({train}, 10).load("train", "classes", Path(sys.argv[1])).checksum)
"""


def start(root, train):
    command = [sys.executable, "-c", PROGRAM.format(train=train), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_start_together_agree(tmp_path):
    processes = [start(tmp_path / "shared", 40) for _ in range(3)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    checksums = {out.strip() for out, _ in outputs}
    assert checksums == {GLYPHS20.reduced(40, 10).load("train", "classes", tmp_path / "alone").checksum}
