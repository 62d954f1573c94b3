"""The rendered cache, with a made-up data set where that is enough and with glyphs in several processes."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sla_bench.datasets.glyphs import GLYPHS20
from sla_bench.datasets.rendered_cache import RenderedCache
from sla_bench.errors import UserError

SHAPES = {"train": (6, 2, 2, 3), "test": (4, 2, 2, 3)}


class CountingRenderer:
    """Makes small numbers in blocks of two images, and counts how often it is asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, part):
        self.calls.append(part)
        images = np.arange(np.prod(SHAPES[part]), dtype=np.uint8).reshape(SHAPES[part])
        yield from np.split(images, len(images) // 2)


@pytest.fixture
def cache(tmp_path):
    return RenderedCache(tmp_path / "prepared", "made-up", {"seed": 0}, SHAPES)


@pytest.fixture
def render():
    return CountingRenderer()


def expected(part):
    return np.concatenate(list(CountingRenderer()(part)))


def test_images_are_rendered_once_and_opened_as_private_maps(cache, render):
    for part in SHAPES:
        images = cache.open(part, render)
        assert np.array_equal(images, expected(part))
        assert isinstance(images, np.memmap)
    assert render.calls == ["train", "test"]
    images = cache.open("train", render)
    images[0] = 255
    assert np.array_equal(cache.open("train", render), expected("train"))


def test_other_definitions_lie_in_other_folders(cache, render):
    cache.open("train", render)
    other = RenderedCache(cache.root, cache.name, {"seed": 1}, SHAPES)
    assert other.folder != cache.folder
    other.open("train", render)
    cache.open("train", render)
    assert render.calls == ["train", "test"] * 2


def truncate(cache):
    with (cache.folder / "train.npy").open("r+b") as file:
        file.truncate(100)


def alter(cache):
    path = cache.folder / "train.npy"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def remove_part(cache):
    (cache.folder / "train.npy").unlink()


def remove_description(cache):
    (cache.folder / "info.json").unlink()


def empty_description(cache):
    (cache.folder / "info.json").write_text("")


def foreign_description(cache):
    (cache.folder / "info.json").write_text('["not", "ours"]')


def swap_parts(cache):
    shutil.copy(cache.folder / "test.npy", cache.folder / "train.npy")


def remove_folder(cache):
    shutil.rmtree(cache.folder)


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        alter,
        remove_part,
        remove_description,
        empty_description,
        foreign_description,
        swap_parts,
        remove_folder,
    ],
)
def test_damaged_files_are_rendered_again(cache, render, damage):
    cache.open("train", render)
    damage(cache)
    assert np.array_equal(cache.open("train", render), expected("train"))
    assert render.calls == ["train", "test"] * 2
    assert sorted(path.name for path in cache.folder.iterdir()) == ["info.json", "test.npy", "train.npy"]
    cache.open("test", render)
    assert render.calls == ["train", "test"] * 2


def test_an_open_map_survives_that_its_files_are_replaced(cache, render):
    images = cache.open("train", render)
    remove_description(cache)
    cache.open("train", render)
    assert np.array_equal(images, expected("train"))


@pytest.mark.parametrize("killed_in", ["train", "test"])
def test_an_interrupted_rendering_leaves_nothing_that_counts(cache, render, killed_in):
    def interrupted(part):
        blocks = render(part)
        yield next(blocks)
        if part == killed_in:
            raise KeyboardInterrupt
        yield from blocks

    with pytest.raises(KeyboardInterrupt):
        cache.open("train", interrupted)
    assert not (cache.folder / "info.json").exists()
    assert not list(cache.folder.glob(".*.part"))
    assert np.array_equal(cache.open("train", render), expected("train"))


def test_too_few_images_are_not_taken(cache, render):
    def short(part):
        yield from list(render(part))[:-1]

    with pytest.raises(RuntimeError, match="6 images were promised, 4 rendered"):
        cache.open("train", short)
    assert not (cache.folder / "info.json").exists()


class FullDisk(io.BytesIO):
    def write(self, data):
        if self.tell() + len(data) > 150:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_a_full_disk_is_said_in_one_line(cache, render, monkeypatch):
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", **more: FullDisk() if mode == "wb" else real(self, mode, **more)
    )
    with pytest.raises(UserError, match=r"No space left on device.*--data-root") as error:
        cache.open("train", render)
    assert str(cache.folder) in str(error.value)
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    assert np.array_equal(cache.open("train", render), expected("train"))


def test_a_data_root_that_is_a_file_is_said_in_one_line(tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(UserError, match=r"root.*Not a directory.*--data-root"):
        GLYPHS20.reduced(2, 1).load("train", "classes", tmp_path / "root")


def test_a_data_root_without_write_permission_is_said_in_one_line(cache, render, monkeypatch):
    def refuse(*args, **more):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"Permission denied.*--data-root"):
        cache.open("train", render)
    assert render.calls == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_serves_what_it_holds_and_refuses_the_rest(cache, render):
    cache.open("train", render)
    cache.root.chmod(0o500)
    try:
        cache.open("train", render)
        with pytest.raises(UserError, match=r"Permission denied.*--data-root"):
            RenderedCache(cache.root, cache.name, {"seed": 1}, SHAPES).open("train", render)
    finally:
        cache.root.chmod(0o700)


def test_a_valid_cache_is_never_written_to(cache, render, monkeypatch):
    cache.open("train", render)

    def refuse(*args, **more):
        raise AssertionError("tried to write")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr("filelock.FileLock", refuse)
    cache.open("train", render)


PROGRAM = """
import sys
from pathlib import Path
from sla_bench.datasets.glyphs import GLYPHS20
print(GLYPHS20.reduced({train}, 10).load("train", "classes", Path(sys.argv[1])).checksum)
"""


def start(root, train):
    command = [sys.executable, "-c", PROGRAM.format(train=train), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_start_together_render_once_and_agree(tmp_path):
    processes = [start(tmp_path / "shared", 90) for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    checksums = {out.strip() for out, _ in outputs}
    assert checksums == {GLYPHS20.reduced(90, 10).load("train", "classes", tmp_path / "alone").checksum}
    assert sum("Rendering glyphs20" in err for _, err in outputs) == 1


def test_after_a_killed_rendering_the_next_one_is_whole(tmp_path):
    process = start(tmp_path, 490)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("prepared/glyphs20-*/.*.part")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(tmp_path.glob("prepared/glyphs20-*/.*.part"))
    assert not list(tmp_path.glob("prepared/glyphs20-*/info.json"))
    images = GLYPHS20.reduced(490, 10).load("train", "classes", tmp_path)
    assert set(images.class_counts) == {500}
    assert not list(tmp_path.glob("prepared/glyphs20-*/.*.part"))


FULL_DISK_PROGRAM = """
import resource, sys
from pathlib import Path
from sla_bench.datasets.glyphs import GLYPHS20
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
