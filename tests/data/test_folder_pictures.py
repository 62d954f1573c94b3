"""Facts on the pictures of a folder, and where they are said."""

import itertools
import json
import shutil

import numpy as np
import pytest
from deep_formats import deep_png
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from real_formats import png, random_images, write_folder

from sla_bench.cli.app import run_command_line
from sla_bench.data import folder_pictures
from sla_bench.data.folder import Folder
from sla_bench.data.folder_pictures import find_repeats
from sla_bench.data.named import load_dataset
from sla_bench.tables import files

SPLITS = ("train", "val", "test")


def write(path, images):
    path.mkdir(parents=True)
    for i, image in enumerate(images):
        (path / f"{i}.png").write_bytes(png(image))


@pytest.fixture
def leaky(tmp_path):
    """Two classes in parts; test shows two pictures of train, and one picture is of both classes."""
    images = iter(random_images(40, 20))
    for name in "ab":
        for split, count in zip(SPLITS, (6, 3, 4), strict=True):
            write(tmp_path / "pets" / split / name, [next(images) for _ in range(count)])
    base = tmp_path / "pets"
    for i in range(2):
        shutil.copy(base / "train" / "a" / f"{i}.png", base / "test" / "a" / f"again{i}.png")
    # The same pixels in another file.
    Image.open(base / "train" / "a" / "3.png").save(base / "train" / "b" / "also_a.tif")
    return base


LEAKS = (
    "repeated images: 2 of test also in train (test/a/again0.png = train/a/0.png); 1 in two classes "
    "(train/a/3.png = train/b/also_a.tif)"
)


def test_leaks_are_said_whenever_they_are_read(leaky, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["run", "standard", "--dataset", f"folder:{leaky}:16", "--budget", "smoke", "--dry-run"]
    for _ in range(2):
        assert run_command_line([*command, "--method", "baseline", "--data-root", str(tmp_path)]) == 0
        assert LEAKS in capsys.readouterr().err
    for command in ("info", "prepare"):
        assert (
            run_command_line(["datasets", command, f"folder:{leaky}:16", "--data-root", str(tmp_path)]) == 0
        )
        assert LEAKS in capsys.readouterr().out


def test_load_dataset_says_them_too(leaky, tmp_path, capsys):
    for _ in range(2):
        load_dataset(f"folder:{leaky}:16", "train", "images", tmp_path)
    assert capsys.readouterr().err.count(LEAKS) == 1


def test_a_grid_of_two_scenarios_says_them_once(leaky, tmp_path, capsys):
    (tmp_path / "grid.yaml").write_text(
        f"defaults: {{dataset: 'folder:{leaky}:16', budget: smoke, method: baseline}}\n"
        "grids: [{scenario: imbalanced}, {scenario: standard}]\n"
    )
    command = ["run", str(tmp_path / "grid.yaml"), "--dry-run", "--out", str(tmp_path / "results")]
    assert run_command_line([*command, "--data-root", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert (said.count(LEAKS), said.count("train/, val/ and test/")) == (1, 1)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"PK\3\4xx")])
def test_lost_facts_are_found_again(leaky, tmp_path, damage):
    folder = Folder(leaky, 16)
    first = folder.findings(tmp_path, "images")
    (file,) = tmp_path.glob("prepared/*/all.facts.npz")
    damage(file)
    assert folder.findings(tmp_path, "images") == first
    assert folder_pictures.read_facts(file, len(folder.pictures(tmp_path).listing.images)) is not None
    assert {status for _, status in folder.verify(tmp_path)} == {"ok"}


def test_facts_are_of_the_pictures_that_are_left(leaky, tmp_path):
    (leaky / "train" / "a" / "0.png").write_bytes(b"no picture")
    folder = Folder(leaky, 16)
    assert (
        run_command_line(["datasets", "prepare", folder.name, "--skip-bad", "--data-root", str(tmp_path)])
        == 0
    )
    pictures = folder.pictures(tmp_path)
    assert len(pictures.facts.sizes) == len(pictures.listing.images) == 28
    assert (pictures.facts.sizes == 20).all()
    assert pictures.findings("images")["repeated_images"]["of test also in train"] == {
        "count": 1,
        "example": ["test/a/again1.png", "train/a/1.png"],
    }


def test_classes_that_the_seed_splits_are_compared_with_each_other(tmp_path):
    write_folder(tmp_path / "birds", classes=6, per_class=4, size=20)
    first, second, *_ = sorted((tmp_path / "birds").iterdir())
    shutil.copy(next(first.iterdir()), first / "copy.png")
    folder = Folder(tmp_path / "birds", 16)
    # A copy within its class is no leak where classes are split.
    assert folder.remarks(tmp_path, "classes") == []
    shutil.copy(next(first.iterdir()), second / "copy.png")
    (said,) = folder.remarks(tmp_path, "classes")
    assert "1 in two classes" in said


def test_long_pictures_are_named_with_the_option_that_keeps_them(tmp_path):
    write_folder(tmp_path / "birds", classes=2, per_class=5, size=20)
    first = min((tmp_path / "birds").iterdir())
    Image.new("RGB", (40, 20), "red").save(first / "twice.png")
    folder = Folder(f"{tmp_path / 'birds'}:16,flip=no")
    assert folder.remarks(tmp_path) == []
    Image.new("RGB", (20, 41), "green").save(first / "long.png")
    Image.new("RGB", (300, 20), "blue").save(first / "longest.png")
    (said,) = folder.remarks(tmp_path)
    assert "2 of 13 images are more than twice as long as wide" in said
    assert f"{first.name}/longest.png: 300 x 20" in said
    assert f"{folder.name.replace(',flip', ',fit=pad,flip')} keeps all" in said
    padded = Folder(f"{tmp_path / 'birds'}:16,fit=pad")
    assert padded.remarks(tmp_path) == []
    loaded = padded.load("trainval", "images", tmp_path)
    whole = padded.pictures(tmp_path)
    assert loaded.images.shape[1:] == (16, 16, 3)
    assert len(whole.facts.sizes) == 13


def test_a_folder_is_kept_once_for_each_fit(tmp_path):
    write_folder(tmp_path / "birds", classes=2, per_class=5, size=20)
    first = min((tmp_path / "birds").iterdir())
    Image.fromarray(random_images(1, 40)[0]).resize((60, 20)).save(first / "wide.png")
    read = {
        options: Folder(f"{tmp_path / 'birds'}:16{options}").load("trainval", "images", tmp_path).checksum
        for options in ("", ",fit=pad", ",fit=stretch", ",flip=no", ",fit=center,jitter=0")
    }
    assert read[""] == read[",flip=no"] == read[",fit=center,jitter=0"]
    assert len(set(read.values())) == 3
    assert len(list(tmp_path.glob("prepared/*/all.npy"))) == 3


def test_info_shows_classes_splits_and_sizes(leaky, tmp_path, capsys):
    Image.new("RGB", (90, 30), "red").save(leaky / "test" / "b" / "wide.png")
    (leaky / "train" / "a" / "notes.txt").touch()
    assert run_command_line(["datasets", "info", f"folder:{leaky}:16", "--data-root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert "30 in 2 classes; kept at 16 x 16 px" in text
    assert "width 20 to 90, median 20; height 20 to 30, median 20" in text
    assert "6 images show 3 pictures more than once" in text
    assert "left out: 1 .txt file: train/a/notes.txt" in text
    assert "no split by classes" in text
    assert [line.split() for line in lines[-3:]] == [
        ["class", "train", "val", "test", "images"],
        ["a", "6", "3", "6", "15"],
        ["b", "7", "3", "5", "15"],
    ]


def test_info_marks_the_smallest_and_says_what_is_wrong(tmp_path, capsys):
    for name, count in {"日本": 7, "owl": 1, "a\nb": 4}.items():
        write(tmp_path / "zoo" / name, random_images(count, 20, count))
    name = f"folder:{tmp_path / 'zoo'}:16"
    assert run_command_line(["datasets", "info", name, "--data-root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("no test image of 'owl' (fewer than 3 images)" in line for line in lines)
    assert [line.split()[-1] for line in lines if "owl" in line and "<-" in line] == ["smallest"]
    assert sum("<-" in line for line in lines) == 1
    assert [line.split() for line in lines[-3:] if "a b" in line] == [["a", "b", "2", "1", "1", "4"]]
    (tmp_path / "zoo" / "owl" / "0.png").write_bytes(b"no")
    assert run_command_line(["datasets", "info", name, "--data-root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "not readable:  cannot read the image" in said
    assert "owl" in said


def ten_bits(image):
    """The picture's brightness in 10 of 16 bits."""
    return deep_png(image[..., :1].astype(np.int64) * 4)


def test_depth_and_leaks_are_recorded_and_new_pictures_are_scaled_alike(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    monkeypatch.chdir(tmp_path)
    images = iter(random_images(40, 16))
    for name in "ab":
        (tmp_path / "xray" / name).mkdir(parents=True)
        for i in range(10):
            (tmp_path / "xray" / name / f"{i}.png").write_bytes(ten_bits(next(images)))
    shutil.copy(tmp_path / "xray" / "a" / "0.png", tmp_path / "xray" / "b" / "10.png")
    command = ["run", "standard", "--dataset", "folder:xray:16,flip=no,jitter=0", "--budget", "smoke"]
    command += ["--method", "baseline", "--set", "steps=2", "--backbone", "conv4", "--data-root", "d"]
    assert run_command_line([*command, "--workers", "1"]) == 0
    (run,) = (tmp_path / "results" / "standard" / "runs").iterdir()
    environment = json.loads((run / "environment.json").read_text())
    assert environment["pixel_range"] == [0, 1023]
    assert environment["repeated_images"]["in two classes"] == {
        "count": 1,
        "example": ["a/0.png", "b/10.png"],
    }
    assert json.loads((run / "done.json").read_text())["pixel_range"] == [0, 1023]
    assert json.loads((run / "config.json").read_text())["dataset"] == "folder:xray:16,flip=no,jitter=0"
    capsys.readouterr()
    assert run_command_line(["evaluate", run.name, "--data-root", "d", "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "their values 0 to 1,023 become 0 to 255" in said
    assert "repeated images: " in said
    # A dim picture stays dim: it is the picture of 8 bits that it was made of.
    dim = random_images(1, 16, 7)[0] // 8
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "deep.png").write_bytes(ten_bits(dim))
    Image.fromarray(dim[..., 0]).save(tmp_path / "new" / "shallow.png")
    assert run_command_line(["predict", "--run", run.name, "new"]) == 0
    rows = (tmp_path / "predictions.csv").read_text().splitlines()[1:]
    assert len({tuple(row.split(",")[1:]) for row in rows}) == 1
    capsys.readouterr()


SPLITS = ("train", "val", "test")
IMAGES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(-1, 2)), max_size=25)


def found(images, parts=True):
    hashes, labels, places = np.array(images, np.int64).reshape(-1, 3).T
    return find_repeats(hashes.astype(np.uint64), labels, places if parts else None)


@given(IMAGES)
def test_counts_are_those_of_all_pairs(images):
    """Every image against every other, by the definition."""
    pairs = [(a, b) for a, b in itertools.permutations(range(len(images)), 2) if images[a][0] == images[b][0]]
    expected = {}
    for late, early in ((2, 0), (1, 0), (2, 1)):
        inside = {a for a, b in pairs if images[a][2] == late and images[b][2] == early}
        if inside:
            expected[f"of {SPLITS[late]} also in {SPLITS[early]}"] = len(inside)
    in_two = {images[a][0] for a, b in pairs if images[a][1] != images[b][1]}
    if in_two:
        expected["in two classes"] = len(in_two)
    got = found(images)
    assert {where: count for where, (count, _, _) in got.leaks.items()} == expected
    assert got.images == len({a for a, _ in pairs})
    assert got.pictures == len({images[a][0] for a, _ in pairs})
    for _, i, j in got.leaks.values():
        assert (i, j) in pairs


def test_without_parts_only_classes_are_compared():
    images = [(1, 0, 0), (1, 0, 2), (2, 0, 1), (2, 1, 1)]
    assert list(found(images, parts=False).leaks) == ["in two classes"]
    assert found(images).leaks == {"of test also in train": (1, 1, 0), "in two classes": (1, 2, 3)}


def test_the_first_of_each_are_named():
    images = [(5, 0, 0), (4, 0, 0), (4, 1, 2), (5, 0, 2)]
    assert found(images).leaks == {"of test also in train": (2, 3, 0), "in two classes": (1, 1, 2)}
    assert found(images[:2]).leaks == {}
