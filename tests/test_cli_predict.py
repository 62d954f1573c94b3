import csv

import numpy as np
import pytest
import torch
from PIL import Image
from trained_runs import train_runs

from sla_bench.cli.app import run_command_line
from sla_bench.records.classifiers import load_classifier


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    (folder,) = train_runs(tmp_path_factory.mktemp("runs"), method=["sla+sd"])
    return folder


@pytest.fixture
def images(tmp_path):
    """A folder with images of several sizes, at two depths, and what is none."""
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for name, shape in {"b.png": (40, 30, 3), "a.jpg": (32, 32, 3), "below/c.PNG": (64, 64)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("none")
    (folder / ".hidden.png").write_bytes(b"none")
    return folder


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def predict(*arguments, device="cpu"):
    return run_command_line(["predict", "--device", device, *map(str, arguments)])


def test_a_folder_becomes_a_table(run, images, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert predict("--run", run, images, "--out", out) == 0
    assert f"{out}: 3 images, sd" in capsys.readouterr().out
    rows = rows_of(out)
    files = [images / "a.jpg", images / "b.png", images / "below" / "c.PNG"]
    assert [row["path"] for row in rows] == list(map(str, files))
    assert list(rows[0]) == ["path", "mode", "class", "probability"]
    classifier = load_classifier(run)
    classes, probabilities = classifier.predict(files, "sd")
    assert [row["class"] for row in rows] == [classifier.class_names[c] for c in classes]
    found = [float(row["probability"]) for row in rows]
    assert found == pytest.approx(probabilities.max(1), rel=1e-4)


def test_a_run_is_found_by_the_beginning_of_its_id(run, images, tmp_path):
    by_path, by_id = tmp_path / "path.csv", tmp_path / "id.csv"
    results = run.parents[2]
    assert predict("--run", run, images, "--out", by_path) == 0
    assert predict("--run", run.name[:8], "--results", results, images, "--out", by_id) == 0
    assert by_path.read_bytes() == by_id.read_bytes()


def test_an_image_that_is_named_twice_is_predicted_once(run, images, tmp_path):
    out = tmp_path / "out.csv"
    assert predict("--run", run, images / "b.png", images, images / "b.png", "--out", out) == 0
    assert [row["path"][-5:] for row in rows_of(out)] == ["b.png", "a.jpg", "c.PNG"]


def test_paths_and_classes_are_written_as_they_are(run, images, tmp_path, monkeypatch):
    monkeypatch.chdir(images)
    (images / "b.png").rename("=1+1.png")
    (images / "a.jpg").rename('-2 \n,"x".jpg')
    assert predict("--run", run, "=1+1.png", './-2 \n,"x".jpg', "--out", tmp_path / "out.csv") == 0
    assert [row["path"] for row in rows_of(tmp_path / "out.csv")] == ["=1+1.png", '-2 \n,"x".jpg']


def test_classes_are_named_as_their_folders(images, tmp_path):
    from sla_bench.cli.predict import _csv

    names = [
        "-5",
        "+3",
        "=x",
        "@home",
        "007",
        "1e5",
        "NA",
        "None",
        "True",
        'the "dog"',
        "line\nbreak",
        "日本",
    ]
    (tmp_path / "out.csv").write_text(_csv([("p", "sd", name, 0.5) for name in names]), encoding="utf-8")
    assert [row["class"] for row in rows_of(tmp_path / "out.csv")] == names


def test_names_that_are_no_utf8_are_written_out(run, images, tmp_path):
    strange = images / "b\udcff.png"
    try:
        (images / "b.png").rename(strange)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert predict("--run", run, images, "--out", tmp_path / "out.csv") == 0
    assert any("b\\udcff.png" in row["path"] for row in rows_of(tmp_path / "out.csv"))


def refused(capsys, *arguments, device="cpu"):
    assert predict(*arguments, device=device) == 2
    message = capsys.readouterr().err.strip().splitlines()
    return message[-1]


def test_bad_input_is_said_in_one_line_and_leaves_no_table(run, images, tmp_path, capsys):
    out = tmp_path / "out.csv"
    broken = images / "broken.png"
    broken.write_bytes((images / "b.png").read_bytes()[:200])
    empty = tmp_path / "empty"
    empty.mkdir()
    end = ("--out", out)
    assert f"cannot read the image {broken}" in refused(capsys, "--run", run, images, *end)
    assert f"no images in {empty}" in refused(capsys, "--run", run, empty, *end)
    assert "--skip-bad leaves out such images" in refused(capsys, "--run", run, images, *end)
    assert "name the images" in refused(capsys, "--run", run, *end)
    assert "there is no file or folder" in refused(capsys, "--run", run, tmp_path / "missing.png", *end)
    assert "cannot read the image" in refused(capsys, "--run", run, images / "notes.txt", *end)
    assert "mode 'si' is not one of sd, tta, ag" in refused(
        capsys, "--run", run, images / "b.png", "--mode", "si", *end
    )
    assert "is not the folder of a finished run" in refused(capsys, "--run", images, images, *end)
    assert "there is no folder" in refused(capsys, "--run", tmp_path / "nothing", images, *end)
    assert "no finished run begins with 'ffff'" in refused(
        capsys, "--run", "ffff", "--results", run.parents[2], images, *end
    )
    assert "write auto, cpu, cuda" in refused(capsys, "--run", run, images / "b.png", *end, device="gpu")
    assert f"--out {empty} is a folder" in refused(capsys, "--run", run, images / "b.png", "--out", empty)
    assert not out.exists()


def test_bad_images_are_left_out_where_that_is_asked_for(run, images, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert predict("--run", run, images, "--out", out) == 0
    whole = out.read_bytes()
    capsys.readouterr()
    for name, content in {"aa.png": b"<html>404</html>", "zz.jpg": b"", "below/m.gif": b"GIF89a"}.items():
        (images / name).write_bytes(content)
    assert predict("--run", run, images, "--out", out, "--skip-bad") == 3
    assert out.read_bytes() == whole
    said = capsys.readouterr()
    assert f"{out}: 3 images, sd" in said.out
    assert "3 images can't be read and are left out" in said.err
    for name in ("aa.png", "zz.jpg", "below/m.gif"):
        assert f"cannot read the image {images / name}" in said.err


def test_a_folder_of_nothing_but_bad_images_leaves_no_table(run, tmp_path, capsys):
    (tmp_path / "x.png").write_bytes(b"none")
    message = refused(capsys, "--run", run, tmp_path, "--skip-bad", "--out", tmp_path / "out.csv")
    assert "all 1 images are unreadable" in message
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("modes", [["ag", "sd"], ["ag,sd"], ["ag", "--mode", "sd"]])
def test_several_modes_may_be_given_at_once(modes, run, images, tmp_path):
    out = tmp_path / "out.csv"
    assert predict("--run", run, "--out", out, images / "b.png", "--mode", *modes) == 0
    assert [row["mode"] for row in rows_of(out)] == ["ag", "sd"]
    first = out.read_bytes()
    assert predict("--run", run, "--out", out, "--mode", *modes, images / "b.png") == 0
    assert out.read_bytes() == first


def test_without_a_run_the_recorded_ones_are_named(run, images, tmp_path, capsys):
    message = refused(capsys, "--results", run.parents[2], images)
    assert "--run" in message
    assert run.name in message
    assert "cifar10" in message
    assert "has none" in refused(capsys, "--results", tmp_path / "nothing", images)


def test_what_is_left_out_is_counted(run, images, tmp_path, capsys):
    for name in ("phone.HEIC", "no_extension", "__cache__/a.jpg", ".tmp/b.jpg"):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).touch()
    (images / "b.png").rename(images / "b.jfif")
    assert predict("--run", run, images, "--out", tmp_path / "out.csv") == 0
    said = capsys.readouterr()
    assert ": 3 images, " in said.out
    assert [line for line in said.err.splitlines() if "left out" in line] == [
        f"{images}: left out: 1 hidden picture: .hidden.png",
        f"{images}: left out: 1 other file: no_extension",
        f"{images}: left out: 1 .txt file: notes.txt",
        f"{images}: left out: 1 .heic file: phone.HEIC",
        f"{images}: left out: 2 pictures in hidden folders and folders of the system: .tmp, __cache__",
    ]
