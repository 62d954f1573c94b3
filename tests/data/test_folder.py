"""`folder:PATH`: splits, states, small classes, refusals."""

import os
import shutil

import numpy as np
import pytest
from folder_drawings import put
from PIL import Image
from real_formats import png, random_images, write_folder

from sla_bench.cli.app import run_command_line
from sla_bench.data import layouts
from sla_bench.data.folder import Folder
from sla_bench.data.folder_layouts import list_folder
from sla_bench.data.folder_splits import reading_lines
from sla_bench.data.overview import sheet_of, verify
from sla_bench.data.splits import split_images
from sla_bench.errors import UserError

SPLITS = ("train", "val", "test")


def names_of(loaded):
    return [loaded.class_names[label] for label in loaded.labels]


def load_all(folder, root, by="classes", seed=0):
    return [folder.load(split, by, root, seed) for split in SPLITS]


def test_classes_are_split_and_every_image_is_found_once(tmp_path):
    written, names = write_folder(tmp_path / "birds", classes=15, per_class=3)["train"]
    parts = load_all(Folder(tmp_path / "birds"), tmp_path)
    assert [part.num_classes for part in parts] == [5, 5, 5]
    got = {
        (name, image.tobytes())
        for part in parts
        for name, image in zip(names_of(part), part.images, strict=True)
    }
    assert got == {(name, image.tobytes()) for name, image in zip(names, written, strict=True)}


def test_split_seed_chooses_the_classes(tmp_path):
    write_folder(tmp_path / "birds", 15, per_class=1, size=32)
    folder = Folder(tmp_path / "birds", size=32)
    seeds = {folder.load("test", "classes", tmp_path, seed).class_names for seed in range(5)}
    assert len(seeds) == 5
    assert folder.split_depends_on_seed
    again = folder.load("test", "classes", tmp_path, 3)
    assert again.checksum == folder.load("test", "classes", tmp_path, 3).checksum


def test_images_are_read_once_and_again_when_they_change(tmp_path, monkeypatch):
    write_folder(tmp_path / "birds", classes=6, per_class=3, size=40)
    folder = Folder(tmp_path / "birds", 32)
    first = folder.load("train", "classes", tmp_path)
    monkeypatch.setattr("sla_bench.data.images.decode", None)
    assert folder.load("train", "classes", tmp_path).checksum == first.checksum
    monkeypatch.undo()
    (tmp_path / "birds" / first.class_names[0] / "new.png").write_bytes(png(random_images(1, 40, 9)[0]))
    assert len(folder.load("train", "classes", tmp_path)) == len(first) + 1
    assert {status for _, status in folder.verify(tmp_path)} == {"ok"}


def test_grey_images_are_said_to_be_grey(tmp_path):
    for name in "abcdef":
        (tmp_path / "scans" / name).mkdir(parents=True)
        Image.new("L", (30, 30), ord(name)).save(tmp_path / "scans" / name / "1.png")
    loaded = Folder(tmp_path / "scans", 32).load("train", "classes", tmp_path)
    assert loaded.grey
    assert [chr(value) for value in loaded.images[:, 0, 0, 0]] == list(loaded.class_names)


def test_links_out_of_the_folder_are_followed(tmp_path):
    write_folder(tmp_path / "birds", classes=6, per_class=1, size=32)
    (tmp_path / "birds" / "kind03").rename(tmp_path / "elsewhere")
    (tmp_path / "birds" / "kind03").symlink_to(tmp_path / "elsewhere")
    parts = load_all(Folder(tmp_path / "birds", 32), tmp_path)
    assert sum(part.num_classes for part in parts) == 6


def test_large_parts_become_maps_of_their_own(tmp_path, monkeypatch):
    write_folder(tmp_path / "birds", classes=6, per_class=3, size=32)
    folder = Folder(tmp_path / "birds", 32)
    small = load_all(folder, tmp_path)
    monkeypatch.setattr(layouts, "DIRECT_LIMIT", 1000)
    for _ in range(2):
        for part, expected in zip(load_all(folder, tmp_path), small, strict=True):
            assert isinstance(part.images, np.memmap)
            assert part.checksum == expected.checksum


def write_splits(path, text):
    (path / "splits.csv").write_text(text)


def test_splits_file(tmp_path):
    path = tmp_path / "birds"
    write_folder(path, classes=6, per_class=2, size=32)
    write_splits(path, "\ufeffclass, split\nkind05, train\nkind01,train\nkind00,val\nkind02,test\n")
    folder = Folder(path, 32)
    parts = load_all(folder, tmp_path)
    assert [part.class_names for part in parts] == [("kind01", "kind05"), ("kind00",), ("kind02",)]
    assert not folder.split_depends_on_seed
    assert folder.load("test", "classes", tmp_path, 9).checksum == parts[2].checksum


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,part\nkind00,train\n", "columns class,split or file,split; found name,part"),
        ("", "columns class,split or file,split; found nothing"),
        ("class,split\nkin04,train\n", "names the class 'kin04'.*did you mean 'kind04'"),
        ("class,split\nkind00,trian\n", "split 'trian'; did you mean 'train'"),
        ("class,split\nkind00,train\nkind00,test\n", "'kind00' to train and to test"),
        ("class,split\nkind00,train\n", "no class to the split 'test'"),
        ("class,split\nkind00\n", "split ''"),
    ],
)
def test_wrong_splits_file(tmp_path, text, words):
    write_folder(tmp_path / "birds", classes=6, per_class=2, size=32)
    write_splits(tmp_path / "birds", text)
    with pytest.raises(UserError, match=words):
        Folder(tmp_path / "birds", 32).load("test", "classes", tmp_path)


def write_divided(path, classes):
    for seed, split in enumerate(SPLITS):
        for name in classes[split]:
            (path / split / name).mkdir(parents=True)
            for i, image in enumerate(random_images(seed + 1, 32, seed)):
                (path / split / name / f"{i}.png").write_bytes(png(image))


def test_split_folders_with_the_same_classes(tmp_path):
    path = tmp_path / "birds"
    write_divided(path, dict.fromkeys(SPLITS, "abcdef"))
    folder = Folder(path, 32)
    parts = load_all(folder, tmp_path, "images")
    assert [part.class_counts.tolist() for part in parts] == [[1] * 6, [2] * 6, [3] * 6]
    pooled = load_all(folder, tmp_path, "classes")
    assert [part.class_counts.tolist() for part in pooled] == [[6, 6]] * 3


def test_split_folders_with_disjoint_classes(tmp_path):
    write_divided(tmp_path / "birds", {"train": "abc", "val": "de", "test": "fg"})
    folder = Folder(tmp_path / "birds", 32)
    parts = load_all(folder, tmp_path)
    assert [part.class_names for part in parts] == [("a", "b", "c"), ("d", "e"), ("f", "g")]
    assert not folder.split_depends_on_seed
    with pytest.raises(UserError, match="'a' must be in train and in val"):
        folder.load("train", "images", tmp_path)


def test_split_folders_that_half_overlap(tmp_path):
    write_divided(tmp_path / "birds", {"train": "abc", "val": "ade", "test": "fg"})
    with pytest.raises(UserError, match="disjoint classes or the same; 'a' is in several"):
        Folder(tmp_path / "birds", 32).load("train", "classes", tmp_path)


def unread_class(path):
    (path / "owl").mkdir()
    for name in ("a.heic", "b.HEIC", "readme.txt"):
        (path / "owl" / name).touch()


def broken_image(path):
    (path / "kind01" / "00001.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def truncated_image(path):
    file = path / "kind02" / "00002.png"
    file.write_bytes(file.read_bytes()[:-200])


def no_classes(path):
    shutil.rmtree(path)
    path.mkdir()
    (path / "a.png").write_bytes(png(random_images(1, 32)[0]))


def too_few(path):
    shutil.rmtree(path / "kind05")


ERRORS = {
    "missing": (shutil.rmtree, "birds does not exist"),
    "a file": (lambda path: (shutil.rmtree(path), path.touch()), "is a file"),
    "unread class": (unread_class, "the class 'owl' is empty: .* holds 2 .heic files, which are not read"),
    "broken image": (broken_image, r"kind01/00001\.png"),
    "truncated image": (truncated_image, r"kind02/00002\.png"),
    "no classes": (no_classes, "no classes; 1 images lie in it directly"),
    "too few classes": (too_few, "has 5 classes; few-shot learning needs at least 6"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_what_is_wrong_is_named(tmp_path, kind):
    write_folder(tmp_path / "birds", classes=6, per_class=1, size=32)
    change, words = ERRORS[kind]
    change(tmp_path / "birds")
    with pytest.raises(UserError, match=words) as caught:
        Folder(tmp_path / "birds", 32).load("train", "classes", tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("data/prepared/*/*"))


def test_one_class_is_too_few_for_a_classifier(tmp_path):
    write_folder(tmp_path / "birds", classes=1, per_class=9, size=32)
    with pytest.raises(UserError, match="has only images of 'kind00'; a classifier needs two at least"):
        Folder(tmp_path / "birds", 32).load("trainval", "images", tmp_path)


def test_too_few_images_to_split(tmp_path):
    write_folder(tmp_path / "birds", classes=6, per_class=2, size=32)
    with pytest.raises(UserError, match="no class has 3 images, one for each of train, val and test"):
        Folder(tmp_path / "birds", 32).load("train", "images", tmp_path)


def test_names_that_are_not_utf_8(tmp_path):
    write_folder(tmp_path / "birds", classes=6, per_class=10, size=32)
    first, second, *_ = sorted((tmp_path / "birds").iterdir())
    picture = next(first.iterdir())
    picture.rename(picture.parent / os.fsdecode(b"caf\xe9.png"))
    assert Folder(tmp_path / "birds", 32).load("train", "images", tmp_path).num_classes == 6
    second.rename(tmp_path / "birds" / os.fsdecode(b"caf\xe9"))
    with pytest.raises(UserError, match=r"the class 'caf.*' is not UTF-8"):
        Folder(tmp_path / "birds", 32).load("train", "images", tmp_path)


def test_a_folder_of_few_classes_is_verified_by_its_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "birds", classes=4, per_class=10, size=32)
    lines = verify("folder:birds:32", tmp_path)
    assert [line.split(", checksum")[0] for line in lines[-3:]] == [
        "ok       train: 28 images, 4 classes of 7",
        "ok       val: 4 images, 4 classes of 1",
        "ok       test: 8 images, 4 classes of 2",
    ]
    assert sheet_of("folder:birds:32", tmp_path).size > (0, 0)


@pytest.mark.parametrize("command", [["info"], ["prepare", "--skip-bad"]])
def test_names_of_files_do_not_drive_the_terminal(command, tmp_path, capsys):
    write_folder(tmp_path / "birds", classes=6, per_class=10, size=32)
    first = min((tmp_path / "birds").iterdir())
    min(first.iterdir()).rename(first / "bad\x1b]0;title\x07.png")
    (first / "bad\x1b]0;title\x07.png").write_bytes(b"no picture")
    first.rename(first.with_name("a\x1b[31mred"))
    name, *options = command
    folders = ["--data-root", str(tmp_path)]
    assert run_command_line(["datasets", name, f"folder:{tmp_path / 'birds'}:32", *options, *folders]) == 0
    said = capsys.readouterr()
    assert "birds" in said.out or "bad" in said.out
    assert not {"\x1b", "\x07"} & set(said.out + said.err)


SIZES = {"ant": 20, "bee": 2, "cat": 10, "dog": 1, "eel": 3}


@pytest.fixture
def zoo(tmp_path):
    for name, count in SIZES.items():
        put(tmp_path / "zoo" / name, count, drawn=True)
    return tmp_path / "zoo"


def test_classes_of_one_or_two_images_are_trained_on_alone(zoo, tmp_path):
    folder = Folder(zoo, 16)
    loaded = {split: folder.load(split, "images", tmp_path) for split in ("train", "val", "test", "trainval")}
    assert {images.class_names for images in loaded.values()} == {tuple(SIZES)}
    assert loaded["train"].class_counts.tolist() == [14, 2, 7, 1, 1]
    assert loaded["val"].class_counts.tolist() == [2, 0, 1, 0, 1]
    assert loaded["test"].class_counts.tolist() == [4, 0, 2, 0, 1]
    assert loaded["trainval"].class_counts.tolist() == [16, 2, 8, 1, 2]
    lines = reading_lines("zoo", list_folder(zoo), "images")
    assert "zoo: no test image of 'bee', 'dog' (fewer than 3 images)" in lines[1]


def test_small_classes_can_be_left_out_by_name(zoo, tmp_path):
    folder = Folder(zoo, 16, min_images=3)
    assert folder.load("test", "images", tmp_path).class_names == ("ant", "cat", "eel")
    assert folder.not_used() == {
        "pictures of classes with fewer than 3": {"count": 3, "names": {"bee": 2, "dog": 1}}
    }
    assert any(
        "left out: 3 pictures of classes with fewer than 3: bee (2), dog (1)" in line
        for line in folder.reading_lines("images", tmp_path)
    )
    (zoo / "splits.csv").write_text("class,split\nant,train\nbee,train\ncat,val\neel,test\n")
    assert folder.load("train", "classes", tmp_path).class_names == ("ant",)


def test_nothing_is_left(zoo):
    with pytest.raises(UserError, match="no class has 21 images, the largest has 20"):
        list_folder(zoo, 21)
    with pytest.raises(UserError, match="min_images=0"):
        Folder(zoo, min_images=0)


def test_a_split_that_no_class_is_large_enough_for(tmp_path):
    for part in ("train", "test"):
        for name in "ab":
            put(tmp_path / "zoo" / part / name, 2, drawn=True)
    with pytest.raises(UserError, match="no image is left for val, all classes are too small"):
        Folder(tmp_path / "zoo", 16).load("val", "images", tmp_path)


def test_dividing_large_classes_does_not_depend_on_small_ones_being_allowed():
    labels = np.repeat(np.arange(3), [10, 7, 5])
    strict = split_images(labels, (0.7, 0.1, 0.2), 3)
    lenient = split_images(labels, (0.7, 0.1, 0.2), 3, smallest=3)
    assert all(np.array_equal(a, b) for a, b in zip(strict, lenient, strict=True))
