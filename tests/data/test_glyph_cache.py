"""Rendered images, kept as memory maps: made once, also by several processes, and again where damaged."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sla_bench.data.glyphs import GLYPHS20, GlyphDataset
from sla_bench.errors import UserError

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


def test_other_definitions_lie_in_other_folders(folder):
    GLYPHS20.reduced(4, 1).load("train", "classes", folder.parents[1])
    assert len(list(folder.parent.glob("glyphs20-*/"))) == 2


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


def test_after_a_killed_rendering_the_next_one_is_whole(tmp_path):
    process = start(tmp_path, 490)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("prepared/glyphs20-*/.*.part")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(tmp_path.glob("prepared/glyphs20-*/*.json"))
    images = GLYPHS20.reduced(490, 10).load("train", "classes", tmp_path)
    assert set(images.class_counts) == {500}
    assert not list(tmp_path.glob("prepared/glyphs20-*/.*.part"))


FULL_DISK_PROGRAM = """
import resource, sys
from pathlib import Path
from sla_bench.data.glyphs import GLYPHS20
from sla_bench.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    GLYPHS20.reduced(18, 2).load("train", "classes", Path(sys.argv[1]))
except UserError as error:
    print(error)
"""


def test_a_limit_of_the_operating_system_is_said_in_one_line(tmp_path):
    command = [sys.executable, "-c", FULL_DISK_PROGRAM, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "File too large" in output
    assert "--data-root" in output
    assert output.count("\n") == 1
    assert not list(tmp_path.glob("prepared/glyphs20-*/*"))
