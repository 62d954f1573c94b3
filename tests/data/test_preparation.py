"""`datasets prepare`: killed and called again, and images that can't be decoded."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import real_formats
from PIL import Image

from sla_bench.cli.app import run_command_line
from sla_bench.data import prepared, sources
from sla_bench.data.cifar100_few_shot import FC100
from sla_bench.data.folder import Folder
from sla_bench.data.glyphs import GLYPHS20
from sla_bench.data.listed_photographs import MIT67
from sla_bench.data.preparation import Preparation
from sla_bench.data.prepared import Origin, open_map, write_map
from sla_bench.data.sources import EncodedImages, decoded_source
from sla_bench.errors import UserError


def prepare(root, *arguments, name="mit67"):
    return ["datasets", "prepare", name, "--data-root", str(root), *arguments]


def lines_of(root, part="Train"):
    return (root / "MIT67" / f"{part}Images.txt").read_text().splitlines()


def image(root, line, part="Train"):
    return root / "MIT67" / "Images" / lines_of(root, part)[line]


def test_a_killed_preparation_goes_on(tmp_path, capsys):
    """What was decoded before is not decoded again: its images may be broken by then."""
    colours, names = real_formats.write_mit67(tmp_path, counts=(400, 2, 2))["train"]
    folder = tmp_path / "prepared" / "mit67"
    notes = folder / ".train.part.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "sla_bench", *prepare(tmp_path, "--workers", "1")], env=os.environ
    )
    deadline = time.monotonic() + 300
    while not notes.exists():
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    read = json.loads(notes.read_text())["read"]
    assert 0 < read < 404
    assert not list(folder.glob("*.npy"))
    image(tmp_path, 0).write_bytes(b"?")
    assert run_command_line(prepare(tmp_path, "--workers", "1")) == 0
    capsys.readouterr()
    loaded = MIT67.load("train", "images", tmp_path)
    assert [loaded.class_names[label] for label in loaded.labels] == names
    assert np.abs(loaded.images[:, ::51, ::51].astype(int) - colours).max() <= 3
    endings = ("hashes", "json", "npy")
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{split}.{ending}" for split in ("test", "train") for ending in endings
    ]
    assert run_command_line(["datasets", "verify", "mit67", "--data-root", str(tmp_path)]) == 0


@pytest.fixture
def half(tmp_path):
    """A split of 200 images, of which the first 128 are written, and how to write the rest."""
    paths = [tmp_path / "raw" / f"{i}.png" for i in range(200)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        Image.new("RGB", (2, 2), (i, 7, 9)).save(path)
    labels = np.arange(200) % 2
    encoded = EncodedImages(paths, 2, "crop", lambda i: str(paths[i]), tmp_path)
    source = decoded_source(encoded, labels.astype(np.int64), ("a", "b"))

    def write(fingerprint="1", skip_bad=False):
        origin = Origin("raw", tmp_path / "raw", fingerprint)
        write_map(tmp_path / "maps", "train", source, origin, lambda *_: None, Preparation(None, skip_bad))
        return open_map(tmp_path / "maps", "train")

    good = paths[150].read_bytes()
    paths[150].write_bytes(b"?")
    with pytest.raises(UserError, match=r"cannot read the image .*150\.png: .*datasets prepare --skip-bad"):
        write()
    paths[150].write_bytes(good)
    return tmp_path / "maps", write


def test_a_forgotten_skip_bad_costs_nothing_that_is_decoded(half, decoded, monkeypatch):
    """Killed with --skip-bad, called again without it."""
    folder, write = half
    bad = folder.parent / "raw" / "130.png"
    good = bad.read_bytes()
    bad.write_bytes(b"?")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepared.os, "fsync", stop)
        with pytest.raises(KeyboardInterrupt):
            write(skip_bad=True)
    before = json.loads((folder / ".train.part.json").read_text())
    assert (before["read"], before["left_out"]) == (200, [130])
    with pytest.raises(UserError, match=r"cannot read the image .*130\.png: .*--skip-bad"):
        write()
    assert json.loads((folder / ".train.part.json").read_text()) == before
    decoded.clear()
    bad.write_bytes(good)
    assert write().images[:, 0, 0, 0].tolist() == list(range(200))
    assert len(decoded) == 201


@pytest.fixture
def decoded(monkeypatch):
    names = []
    true = sources.decode

    def decode(image, size, fit, name, depth):
        names.append(image.stem)
        return true(image, size, fit, name, depth)

    monkeypatch.setattr(sources, "decode", decode)
    return names


def test_only_what_is_missing_is_decoded(half, decoded):
    _, write = half
    images = write()
    assert sorted(map(int, decoded)) == list(range(128, 200))
    assert images.images[:, 0, 0].tolist() == [[i, 7, 9] for i in range(200)]


def flip_a_bit(folder):
    part = folder / ".train.part"
    raw = bytearray(part.read_bytes())
    raw[300] ^= 1
    part.write_bytes(raw)


def lengthen(folder):
    with (folder / ".train.part").open("ab") as file:
        file.write(b"half an image")


SPOILED = {
    "altered pixels": (flip_a_bit, 200),
    "cut pixels": (lambda folder: os.truncate(folder / ".train.part", 500), 200),
    "altered notes": (lambda folder: (folder / ".train.part.json").write_text("{"), 200),
    "half a block more": (lengthen, 72),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_what_does_not_fit_its_notes_is_done_again(half, decoded, kind):
    folder, write = half
    change, expected = SPOILED[kind]
    change(folder)
    assert write().images[:, 0, 0, 0].tolist() == list(range(200))
    assert len(decoded) == expected


def test_other_files_are_begun_anew(half, decoded):
    _, write = half
    write(fingerprint="2")
    assert len(decoded) == 200


def test_bad_images_stop_or_are_left_out(tmp_path, capsys):
    colours, _ = real_formats.write_mit67(tmp_path)["train"]
    good = image(tmp_path, 2).read_bytes()
    image(tmp_path, 2).write_bytes(good[: len(good) // 2])
    image(tmp_path, 1, "Test").write_bytes(b"?")
    assert run_command_line(prepare(tmp_path)) == 2
    words = capsys.readouterr().err
    assert f"cannot read the image {image(tmp_path, 2)} (line 3 of " in words
    assert "--skip-bad" in words
    assert run_command_line(prepare(tmp_path, "--skip-bad")) == 0
    bad = {"train": f"Images/{lines_of(tmp_path)[2]}", "test": f"Images/{lines_of(tmp_path, 'Test')[1]}"}
    printed = capsys.readouterr().out
    for split, name in bad.items():
        assert f"{split}: 1 images that can't be decoded are left out: {name}\n" in printed
    assert MIT67.left_out(tmp_path) == {split: [name] for split, name in bad.items()}
    train = MIT67.load("train", "images", tmp_path)
    kept = np.delete(colours, 2, axis=0)
    assert train.images.shape == (6, 256, 256, 3)
    assert np.abs(train.images.astype(int) - kept).max() <= 3
    assert len(MIT67.load("test", "images", tmp_path)) == 5
    assert run_command_line(["datasets", "verify", "mit67", "--data-root", str(tmp_path)]) == 0
    assert run_command_line(prepare(tmp_path)) == 2
    assert "cannot read the image" in capsys.readouterr().err
    image(tmp_path, 2).write_bytes(good)
    image(tmp_path, 1, "Test").write_bytes(good)
    assert run_command_line(prepare(tmp_path)) == 0
    assert MIT67.left_out(tmp_path) == {}
    assert len(MIT67.load("train", "images", tmp_path)) == 7


def test_a_class_without_readable_images_is_refused(tmp_path, capsys):
    real_formats.write_mit67(tmp_path)
    for path in (tmp_path / "MIT67" / "Images" / "bar").iterdir():
        path.write_bytes(b"?")
    assert run_command_line(prepare(tmp_path, "--skip-bad")) == 2
    words = "2 images can't be decoded, and 1 of 3 classes have no other, 'bar' for example"
    assert words in capsys.readouterr().err
    assert not list((tmp_path / "prepared" / "mit67").iterdir())


def test_bad_images_of_a_folder_are_left_out(tmp_path, capsys):
    colours, _ = real_formats.write_folder(tmp_path / "birds", classes=6, per_class=4, size=16)["train"]
    (tmp_path / "birds" / "kind01" / "00005.png").write_bytes(b"?")
    folder = Folder(tmp_path / "birds", 16)
    with pytest.raises(UserError, match=r"kind01/00005\.png.*--skip-bad"):
        folder.load("trainval", "images", tmp_path)
    name = f"folder:{tmp_path / 'birds'}:16"
    assert run_command_line(prepare(tmp_path, "--skip-bad", name=name)) == 0
    assert "all: 1 images that can't be decoded are left out: kind01/00005.png" in capsys.readouterr().out
    loaded = [folder.load(split, "images", tmp_path) for split in ("trainval", "test")]
    found = {part.tobytes() for images in loaded for part in images.images}
    assert found == {pixels.tobytes() for pixels in np.delete(colours, 5, axis=0)}
    assert [images.class_names for images in loaded] == [tuple(f"kind{i:02d}" for i in range(6))] * 2
    for images in loaded:
        for pixels, label in zip(images.images, images.labels, strict=True):
            position = next(i for i, own in enumerate(colours) if np.array_equal(own, pixels))
            assert label == position // 4
    with pytest.raises(UserError, match=r"kind01/00005\.png"):
        folder.prepare(tmp_path)


def test_skip_bad_is_refused_where_no_image_files_are(tmp_path):
    with pytest.raises(UserError, match="glyphs20 has no image files that could be bad"):
        GLYPHS20.prepare(tmp_path, how=Preparation(skip_bad=True))
    real_formats.write_category_pickles(tmp_path, "fc100")
    with pytest.raises(UserError, match="has no image files that could be bad"):
        FC100.prepare(tmp_path, how=Preparation(skip_bad=True))


def test_a_full_disk_keeps_what_is_decoded(half, monkeypatch, decoded):
    folder, write = half

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(prepared._Writing, "_append", full)
        with pytest.raises(UserError, match="No space left on device"):
            write()
    assert (folder / ".train.part").exists()
    decoded.clear()
    assert len(write()) == 200
    assert len(decoded) == 72
