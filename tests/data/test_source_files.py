import os
import shutil

import numpy as np
import pytest
import real_formats
from PIL import Image

from sla_bench.data import folder_map
from sla_bench.data.few_shot_files import MINI_IMAGENET
from sla_bench.data.folder import Folder
from sla_bench.data.kept import SourceFiles, stamps_of
from sla_bench.errors import UserError


def pictures(path, shift=0):
    """Three classes of five pictures in a format without compression, all of one time."""
    for c in range(3):
        for i in range(5):
            file = path / f"kind{c}" / f"{i}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (80 * c + shift, 10 * i, 0)).save(file)
            os.utime(file, (1_700_000_000, 1_700_000_000))


def replaced(root):
    pictures(root / "other", shift=7)
    (root / "other" / "kind1" / "2.bmp").replace(root / "data" / "kind1" / "2.bmp")


def overwritten(root):
    pictures(root / "other", shift=7)
    path = root / "data" / "kind1" / "2.bmp"
    path.write_bytes((root / "other" / "kind1" / "2.bmp").read_bytes())
    os.utime(path, (1_700_000_000, 1_700_000_000))


def linked(root):
    pictures(root / "other", shift=7)
    path = root / "data" / "kind1" / "2.bmp"
    path.unlink()
    os.link(root / "other" / "kind1" / "2.bmp", path)


@pytest.mark.parametrize("change", [replaced, overwritten, linked])
def test_another_picture_of_the_same_size_and_time_is_read(change, tmp_path):
    pictures(tmp_path / "data")
    folder = Folder(tmp_path / "data", size=16)
    before = folder.checksum("trainval", "images", tmp_path), folder.checksum("test", "images", tmp_path)
    change(tmp_path)
    after = folder.checksum("trainval", "images", tmp_path), folder.checksum("test", "images", tmp_path)
    assert before != after
    reds = {
        tuple(image[0, 0])
        for s in ("trainval", "test")
        for image in folder.load(s, "images", tmp_path).images
    }
    assert (87, 20, 0) in reds
    assert (80, 20, 0) not in reds


def copied(path):
    shutil.copytree(path, path.with_name("copy"))
    shutil.rmtree(path)
    path.with_name("copy").rename(path)


def touched_mode(path):
    for file in path.glob("*/*"):
        file.chmod(0o600)


@pytest.mark.parametrize("change", [copied, touched_mode])
def test_a_copy_with_the_same_bytes_is_not_decoded_again(change, tmp_path, monkeypatch):
    pictures(tmp_path / "data")
    folder = Folder(tmp_path / "data", size=16)
    before = folder.checksum("trainval", "images", tmp_path)
    stamps = stamps_of(sorted((tmp_path / "data").glob("*/*")))
    change(tmp_path / "data")
    assert (stamps != stamps_of(sorted((tmp_path / "data").glob("*/*")))).any()

    def forbidden(*given):
        raise AssertionError("decoded again")

    monkeypatch.setattr(folder_map, "decoded_source", forbidden)
    assert folder.checksum("trainval", "images", tmp_path) == before
    # The new stamps are kept: bytes are read again for nobody.
    monkeypatch.setattr("sla_bench.data.kept._digests", forbidden)
    assert folder.checksum("trainval", "images", tmp_path) == before


def test_a_map_of_an_earlier_version_is_taken_as_it_is_and_watched_from_then_on(tmp_path, monkeypatch):
    pictures(tmp_path / "data")
    folder = Folder(tmp_path / "data", size=16)
    folder.prepare(tmp_path)
    (notes,) = tmp_path.glob("prepared/*/all.files.npz")
    notes.unlink()
    (pixels,) = tmp_path.glob("prepared/*/all.npy")
    before = pixels.stat().st_ino
    folder.load("train", "images", tmp_path)
    assert (pixels.stat().st_ino, notes.exists()) == (before, True)
    replaced(tmp_path)
    folder.load("train", "images", tmp_path)
    assert pixels.stat().st_ino != before


def test_a_file_that_changes_while_the_map_is_made_is_not_trusted(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    before = stamps_of([path])
    path.write_bytes(b"two")
    SourceFiles(tmp_path, "all").keep([path], before)
    assert not SourceFiles(tmp_path, "all").unchanged([path].__getitem__, stamps_of([path]))


def test_notes_that_are_damaged_or_of_other_files_harm_nothing(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    files = SourceFiles(tmp_path, "all")
    for content in (b"", b"PK\x03\x04 broken"):
        (tmp_path / "all.files.npz").write_bytes(content)
        assert files.unchanged([path].__getitem__, stamps_of([path]))
    np.savez(tmp_path / "all.files.npz", stamps=np.zeros(3), digests=np.zeros((3, 16)))
    assert files.unchanged([path].__getitem__, stamps_of([path]))


def test_the_files_of_a_prepared_data_set_are_watched_too(tmp_path):
    real_formats.write_category_pickles(tmp_path / "raw", "mini_imagenet", 3)
    (base,) = {p.parent for p in (tmp_path / "raw").rglob("*.pickle")}
    MINI_IMAGENET.prepare(tmp_path / "root", base)
    MINI_IMAGENET.load("test", "classes", tmp_path / "root")
    file = next(base.glob("*test*"))
    status, content = file.stat(), bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UserError, match="has changed since"):
        MINI_IMAGENET.load("test", "classes", tmp_path / "root")
