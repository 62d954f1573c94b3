import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from sla_bench.data.arrays import load_npy, npz_images, read_idx
from sla_bench.data.downloads import unpack
from sla_bench.data.few_shot_files import _LAYOUTS
from sla_bench.data.images import decode
from sla_bench.data.lists import read_table
from sla_bench.data.sources import as_int_vector
from sla_bench.errors import UserError


def cheaply(read, *arguments, words="", megabytes=100):
    """It is refused, and took little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=words) as caught:
            read(*arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes << 20
    assert str(caught.value).isprintable()


def idx_header(*shape):
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize("shape", [(10, 28, 28), (2**32 - 1, 28, 28)])
def test_a_gzip_bomb_stays_packed(shape, tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx_header(*shape)) + gzip.compress(bytes(1 << 24), 9) * 40)
    cheaply(read_idx, path, 3, words="announce")


def npz(path, name, raw, packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr(f"{name}.npy", raw)


def npy(descr, shape, content=b"", order="False", version=1):
    head = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H", len(head)) + head + content


@pytest.mark.parametrize(
    "head",
    [
        npy("'|O'", "(2,)", b"cos\nsystem\n(S'true'\ntR."),
        npy("'<i8'", "(-1,)"),
        npy("'<i8'", "(" + "9" * 400 + ",)"),
        npy("__import__('os').system('true')", "(2,)"),
        npy("'<i8'", "(2,)", bytes(8)),
        npy("'<i8'", "(2,)", bytes(80)),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"PK\x03\x04",
    ],
)
def test_heads_of_arrays_that_lie(head, tmp_path):
    (tmp_path / "a.npy").write_bytes(head)
    with pytest.raises(ValueError, match=r"\w") as error:
        load_npy(tmp_path / "a.npy")
    assert len(str(error.value)) < 400
    npz(tmp_path / "a.npz", "a", head)
    with pytest.raises(UserError):
        npz_images(tmp_path / "a.npz", "a")


def test_labels_that_numpy_would_blow_up():
    lists = [1]
    for _ in range(9):
        lists = [lists] * 10
    for value in (
        lists,
        ["a" * 1_000_000, *["b"] * 10_000],
        [2**70],
        [1.5],
        [True],
        [[1], [2]],
        {1: 2},
        "12",
        None,
    ):
        cheaply(as_int_vector, value, "x.pickle", words="labels must be a list of whole numbers")
    with pytest.raises(UserError, match="18446744073709551615 is not a label"):
        as_int_vector(np.array([2**64 - 1], np.uint64), "x.pickle")
    assert as_int_vector([np.uint8(3), 4], "x.pickle").tolist() == [3, 4]


# Images


def test_only_usual_image_formats_are_opened(tmp_path, monkeypatch):
    """Pillow starts Ghostscript for EPS, whatever the file is called."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("it ran"))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    for name in ("a.eps", "a.png"):
        (tmp_path / name).write_bytes(eps)
        cheaply(decode, tmp_path / name, 8, "crop", name, words="cannot read the image")
    for kind in ("TGA", "PCX", "ICO", "DDS", "SGI", "PDF"):
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16)).save(buffer, kind)
        cheaply(decode, buffer.getvalue(), 8, "crop", kind, words=f"cannot read the image {kind}")


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_a_wrong_extension_does_no_harm(suffix, tmp_path):
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "a.png")
    (tmp_path / f"a.{suffix}").write_bytes((tmp_path / "a.png").read_bytes())
    assert (decode(tmp_path / f"a.{suffix}", 8, "crop", "a") == 9).all()


def test_a_thread_of_pixels_is_refused():
    """A kernel over 80 million pixels takes gigabytes."""
    buffer = io.BytesIO()
    Image.new("1", (80_000_000, 1)).save(buffer, "PNG")
    assert buffer.tell() < 1 << 20
    for fit in ("crop", "stretch"):
        cheaply(decode, buffer.getvalue(), 32, fit, "a", words="65,535 are allowed on a side")


# Lists


def test_a_table_of_too_many_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(",".join(map(str, range(50_000))) + "\n" + "x\n" * 50_000)
    cheaply(lambda: list(read_table(path)), words="50,000 columns")
    path.write_text("a,b\n1\n\n2,3,4\n")
    assert list(read_table(path)) == [{"a": "a", "b": "b"}, {"a": "1", "b": ""}, {"a": "2", "b": "3"}]
    for content in (b"a,b\n\xff", b'a,"' + b"x" * 200_000):
        path.write_bytes(content)
        cheaply(lambda: list(read_table(path)), words="cannot read")


@pytest.mark.parametrize("image", ["../../secret.png", "/etc/secret.png", "a/../../../b.png"])
def test_lists_name_no_image_outside_of_their_folder(image, tmp_path):
    from real_formats import write_mini_csv

    write_mini_csv(tmp_path)
    listing = tmp_path / "miniImageNet" / "test.csv"
    rows = listing.read_text().splitlines()
    rows[1] = f"{image},{rows[1].partition(',')[2]}"
    listing.write_text("\n".join(rows))
    cheaply(_LAYOUTS[2].read, listing.parent, "test", words="must name an image inside the folder")


def test_messages_cannot_drive_the_terminal():
    message = str(UserError("a\x1b[2J\u202eb\ud800\nc" + "x" * 10_000))
    assert message.isprintable()
    assert message.startswith("a\N{REPLACEMENT CHARACTER}[2J")
    assert len(message) <= 4000


# Archives


def tar(path, *members):
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, content, further in members:
            info = tarfile.TarInfo(name)
            for key, value in further.items():
                setattr(info, key, value)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


GOOD = [("f/train", b"1", {}), ("f/test", b"2", {})]
LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
HARD = {"type": tarfile.LNKTYPE, "linkname": "f/train"}


@pytest.mark.parametrize(
    "extra", [("../evil", b"x", {}), ("f/../../evil", b"x", {}), ("f/evil", b"", LINK), ("f/evil", b"", HARD)]
)
def test_what_is_not_wanted_is_not_written(extra, tmp_path):
    for position in range(3):
        members = [*GOOD[:position], extra, *GOOD[position:]]
        to = tmp_path / f"to{position}"
        unpack(tar(tmp_path / "a.tar.gz", *members), "f", ("train", "test"), to)
        assert {p.name: p.read_bytes() for p in to.iterdir()} == {"train": b"1", "test": b"2"}
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([GOOD[0]], "has no f/test"),
        ([GOOD[0], ("f/test", b"", LINK)], "not an ordinary file"),
        ([GOOD[0], ("f/test", b"", HARD)], "not an ordinary file"),
    ],
)
def test_archives_that_are_refused(members, words, tmp_path):
    path = tar(tmp_path / "a.tar.gz", *members)
    with pytest.raises(UserError, match=words):
        unpack(path, "f", ("train", "test"), tmp_path / "to")
    assert not any(p.is_symlink() or p.name.startswith(".") for p in (tmp_path / "to").iterdir())
