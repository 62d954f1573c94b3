import os

import pytest
import real_formats
from PIL import Image

from sla_bench.data import kept
from sla_bench.data.base import Dataset
from sla_bench.data.cifar import CIFAR100
from sla_bench.data.cifar100_few_shot import FC100
from sla_bench.data.few_shot_files import MINI_IMAGENET
from sla_bench.data.folder import Folder
from sla_bench.data.glyphs import GLYPHS
from sla_bench.data.listed_photographs import MIT67
from sla_bench.errors import UserError

KINDS = [("train", "images"), ("val", "images"), ("trainval", "images"), ("test", "images")]
CLASSES = [("train", "classes"), ("val", "classes"), ("test", "classes")]


@pytest.fixture
def no_pixels(monkeypatch):
    """Whoever opens the pixels of a map to hash them fails; the map may be opened for its shape."""

    def forbidden(*given):
        raise AssertionError("pixels were read")

    def forbid():
        monkeypatch.setattr(kept, "array_blocks", forbidden)
        monkeypatch.setattr(Dataset, "checksum", forbidden)

    return forbid


def checksums(folder, root, seeds=(0,)):
    found = {(s, by, 0): folder.checksum(s, by, root) for s, by in KINDS}
    return found | {(s, by, seed): folder.checksum(s, by, root, seed) for s, by in CLASSES for seed in seeds}


def test_checksums_are_those_of_the_loaded_parts(tmp_path, no_pixels):
    real_formats.write_folder(tmp_path / "birds", 15, 5, size=32)
    folder = Folder(tmp_path / "birds", size=32)
    seeds = (0, 1, 2)
    loaded = {(s, by, 0): folder.load(s, by, tmp_path).checksum for s, by in KINDS}
    loaded |= {(s, by, k): folder.load(s, by, tmp_path, k).checksum for s, by in CLASSES for k in seeds}
    assert checksums(folder, tmp_path, seeds) == loaded
    no_pixels()
    assert checksums(folder, tmp_path, seeds) == loaded


def test_a_prepared_data_set_is_not_read_either(tmp_path, no_pixels):
    real_formats.write_mit67(tmp_path, counts=(8, 2, 2))
    MIT67.prepare(tmp_path)
    expected = MIT67.load("trainval", "images", tmp_path).checksum
    no_pixels()
    assert MIT67.checksum("trainval", "images", tmp_path) == expected


def test_other_pixels_have_another_checksum_and_damaged_notes_are_made_again(tmp_path):
    real_formats.write_folder(tmp_path / "birds", 6, 4, size=32)
    folder = Folder(tmp_path / "birds", size=32)
    before = folder.checksum("train", "images", tmp_path)
    (notes,) = tmp_path.glob("prepared/*/all.hashes")
    notes.write_text("[")
    assert folder.checksum("train", "images", tmp_path) == before
    images = real_formats.random_images(1, 32, seed=77)
    (tmp_path / "birds" / "kind00" / "00000.png").write_bytes(real_formats.png(images[0]))
    assert folder.checksum("trainval", "images", tmp_path) != before


@pytest.mark.parametrize(
    ("dataset", "write", "split", "by"),
    [
        (CIFAR100, real_formats.write_cifar100, "val", "images"),
        (FC100, lambda root: real_formats.write_category_pickles(root, "fc100"), "val", "classes"),
        (GLYPHS.reduced(4, 2), lambda root: None, "val", "images"),
    ],
    ids=["cifar100", "fc100", "glyphs"],
)
def test_files_that_stay_are_read_for_it_once(dataset, write, split, by, tmp_path, monkeypatch):
    write(tmp_path)
    expected = dataset.load(split, by, tmp_path).checksum
    assert dataset.checksum(split, by, tmp_path) == expected
    with monkeypatch.context() as context:
        context.setattr(type(dataset), "load", None)
        assert dataset.checksum(split, by, tmp_path) == expected
        with pytest.raises(TypeError):
            dataset.checksum("train", by, tmp_path)
    assert dataset.checksum("train", by, tmp_path) == dataset.load("train", by, tmp_path).checksum != expected


def test_a_file_that_is_replaced_is_read_again(tmp_path):
    """The binary version says nothing of other pixels; size and time of change are put back."""
    real_formats.write_cifar100_binary(tmp_path)
    before = CIFAR100.checksum("test", "images", tmp_path)
    path = tmp_path / "cifar-100-binary" / "test.bin"
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = CIFAR100.checksum("test", "images", tmp_path)
    assert before != after == CIFAR100.load("test", "images", tmp_path).checksum


def test_where_nothing_can_be_kept_files_are_read_each_time(tmp_path):
    real_formats.write_cifar100(tmp_path)
    (tmp_path / "prepared").write_text("a file where a folder belongs")
    expected = CIFAR100.load("test", "images", tmp_path).checksum
    assert [CIFAR100.checksum("test", "images", tmp_path) for _ in range(2)] == [expected] * 2


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
