import gzip
import io
import json
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from sla_bench.datasets import tar_files
from sla_bench.datasets.array_files import npz_images, npz_vector
from sla_bench.datasets.cifar import CIFAR10
from sla_bench.datasets.csv_tables import read_table
from sla_bench.datasets.idx import read_idx
from sla_bench.datasets.image_files import decode
from sla_bench.datasets.image_lists import check_images, read_image_list
from sla_bench.datasets.inaturalist_json import read_annotations
from sla_bench.datasets.matlab_files import load_mat
from sla_bench.datasets.mini_imagenet import _LAYOUTS
from sla_bench.datasets.npy_format import load_npy
from sla_bench.datasets.sources import as_int_vector
from sla_bench.datasets.tar_files import unpack
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


@pytest.mark.parametrize("shape", [(10, 28, 28), (2**32 - 1, 28, 28), (2**20, 16, 16), (2**32 - 1,) * 3])
def test_a_gzip_bomb_stays_packed(shape, tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx_header(*shape)) + gzip.compress(bytes(1 << 24), 9) * 40)
    limit = 600 if shape == (2**20, 16, 16) else 100
    cheaply(read_idx, path, 3, words="announce", megabytes=limit)


def npz(path, name, raw, packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr(f"{name}.npy", raw)


def npy(descr, shape, content=b"", order="False", version=1):
    head = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H", len(head)) + head + content


def test_an_archive_that_unpacks_to_gigabytes(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(npy("'<i8'", "(10,)"))
        for _ in range(150):
            member.write(bytes(1 << 20))
    cheaply(npz_vector, path, "a", words="another length")
    npz(path, "a", npy("'<i8'", "(1000000000000,)"))
    cheaply(npz_vector, path, "a", words="at most 20,000,000 are read")


@pytest.mark.parametrize(
    "head",
    [
        npy("'|O'", "(2,)", b"cos\nsystem\n(S'true'\ntR."),
        npy("[('a', '|O')]", "(2,)"),
        npy("'<i8'", "(-1,)"),
        npy("'<i8'", "(2.0,)"),
        npy("'<i8'", "(True,)"),
        npy("'<i8'", "(" + "9" * 400 + ",)"),
        npy("'<i8'", "[2]"),
        npy("('<i8', (2, 2))", "(2,)"),
        npy("'" + "x" * 400 + "'", "(2,)"),
        npy("__import__('os').system('true')", "(2,)"),
        npy("(" * 300, "(2,)"),
        npy("'<i8' if", "(2,)"),
        npy("'<i8'", "(2,", order="'"),
        npy("'M8[Y]'", "(1,)", bytes(8)),
        npy("'<i8'", "(2,)", bytes(8)),
        npy("'<i8'", "(2,)", bytes(80)),
        npy("'<i8'", "(0," + "1," * 60 + ")"),
        npy("'<i8'", "(2,)", bytes(16), version=9),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"\x93NUMPY\x01\x00\x04\x00\xff\xfe{'",
        b"PK\x03\x04",
        b"",
    ],
)
def test_heads_of_arrays_that_lie(head, tmp_path):
    (tmp_path / "a.npy").write_bytes(head)
    with pytest.raises(ValueError, match=r"\w") as error:
        load_npy(tmp_path / "a.npy")
    assert len(str(error.value)) < 400
    npz(tmp_path / "a.npz", "a", head)
    cheaply(npz_vector, tmp_path / "a.npz", "a")
    with pytest.raises(UserError):
        npz_images(tmp_path / "a.npz", "a")


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_unusual_packing_is_refused(packing, tmp_path):
    npz(tmp_path / "a.npz", "a", npy("'<i8'", "(1,)", bytes(8)), packing)
    cheaply(npz_vector, tmp_path / "a.npz", "a", words="packed in an unusual way")


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
    with pytest.raises(UserError, match="18446744073709551615 is no label"):
        as_int_vector(np.array([2**64 - 1], np.uint64), "x.pickle")
    assert as_int_vector([np.uint8(3), 4], "x.pickle").tolist() == [3, 4]


def test_names_of_classes_that_are_none(tmp_path):
    from real_formats import python2_pickle, write_cifar10

    write_cifar10(tmp_path, 5, 1)
    for names in (5, None, {"a": 1}, [1, 2], [["airplane"]]):
        meta = tmp_path / "cifar-10-batches-py" / "batches.meta"
        meta.write_bytes(python2_pickle({"label_names": names}))
        cheaply(CIFAR10.load, "test", "images", tmp_path, words="'label_names' must be a list of texts")


# MATLAB


def mat(path, value, **options):
    savemat(path, value, **options)
    return path


def matrix(kind, dims, name, content=b""):
    def element(code, data):
        return struct.pack("<II", code, len(data)) + data + bytes(-len(data) % 8)

    flags = element(6, struct.pack("<II", kind, 0))
    return element(14, flags + element(5, struct.pack(f"<{len(dims)}i", *dims)) + element(1, name) + content)


def mat5(*variables):
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(variables)


def packed(variable):
    content = zlib.compress(variable, 9)
    return struct.pack("<II", 15, len(content)) + content


def deep(levels):
    inner = matrix(6, (0, 0), b"")
    for _ in range(levels):
        inner = matrix(1, (1, 1), b"", inner)
    return matrix(1, (1, 1), b"x", inner)


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files_of_all_kinds_that_are_wanted(tmp_path, compressed):
    cells = np.empty((3, 1), object)
    cells[:, 0] = ["a/b.jpg", "ü", "c"]
    kinds = [("ID", object), ("WNID", object)]
    structs = np.array([(1.0, "n01"), (2.0, "n02")], dtype=kinds)[:, None]
    given = {"cells": cells, "structs": structs, "n": np.arange(4.0), "b": np.array([True]), "t": "text"}
    found = load_mat(mat(tmp_path / "a.mat", given, do_compression=compressed))
    assert found["cells"].tolist() == ["a/b.jpg", "ü", "c"]
    assert [str(w) for w in found["structs"]["WNID"]] == ["n01", "n02"]
    assert found["n"].tolist() == [0, 1, 2, 3]
    assert str(found["t"]) == "text"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (mat5(deep(9)), "without end"),
        (mat5(packed(deep(50_000))), "without end|more than"),
        (mat5(matrix(1, (2**31 - 1, 1), b"x")), "dimensions that do not fit"),
        (mat5(matrix(1, (2**31 - 1,) * 30, b"x")), "dimensions that do not fit"),
        (mat5(matrix(2, (2**30, 2**30), b"x", struct.pack("<IIII", 5, 4, 32, 0))), "dimensions that do not"),
        (mat5(matrix(6, (-5, 1), b"x")), "dimensions that do not fit"),
        (mat5(matrix(5, (1, 1), b"x")), "class 5"),
        (mat5(matrix(16, (1, 1), b"x")), "class 16"),
        (mat5(matrix(17, (1, 1), b"x")), "class 17"),
        (mat5(matrix(6, (1, 1), b"x"))[:-9], "larger than what it lies in|cut"),
        (mat5(struct.pack("<II", 14, 2**32 - 1)), "larger than what it lies in"),
        (mat5(struct.pack("<II", 9, 8) + bytes(8)), "element of type 9"),
        (mat5(packed(matrix(4, (1, 70 << 20), b"x", bytes(70 << 20)))), "bytes of variables"),
        (mat5(struct.pack("<II", 15, 3) + b"abc"), "fetch it again"),
        (struct.pack("<5i", 0, -100, 1, 0, 2) + b"x\0", "no MATLAB file of version 5"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", "no MATLAB file of version 5"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x02IM", "no MATLAB file of version 5"),
        (b"", "no MATLAB file of version 5"),
    ],
)  # fmt: skip
def test_matlab_files_that_lie(content, words, tmp_path):
    (tmp_path / "a.mat").write_bytes(content)
    cheaply(load_mat, tmp_path / "a.mat", words=words, megabytes=300)


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


@pytest.mark.parametrize("suffix", ["jpg", "gif", "bmp", "webp", "tif", "ppm"])
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


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "\ud800"])
def test_names_that_no_file_can_have(name, tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(f"{name} 0\n".encode("utf-8", "surrogatepass"))
    cheaply(lambda: check_images(read_image_list(path), tmp_path), words="missing|cannot read")


def test_keys_of_one_hash_and_deep_json(tmp_path):
    path = tmp_path / "a.json"
    numbers = [i * (2**61 - 1) for i in range(1, 50_000)]
    path.write_text(json.dumps({"annotations": [{"image_id": n, "category_id": 0} for n in numbers]}))
    cheaply(read_annotations, path, words="annotation 1 .* has no 'image_id'")
    for content in ("[" * 100_000, '{"a":' * 100_000, "9" * 5000):
        path.write_text(content)
        cheaply(read_annotations, path, words="cannot read")


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
    "extra",
    [
        ("../evil", b"x", {}),
        ("/tmp/evil", b"x", {}),
        ("f/../../evil", b"x", {}),
        ("f/./train", b"x", {}),
        ("f", b"", LINK),
        ("f/evil", b"", LINK),
        ("f/evil", b"", HARD),
        ("f/evil", b"", {"type": tarfile.FIFOTYPE}),
        ("f/evil", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
    ],
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
        ([*GOOD, ("f/test", b"3", {})], "twice"),
        ([GOOD[0], ("f/test", b"", LINK)], "no ordinary file"),
        ([GOOD[0], ("f/test", b"", HARD)], "no ordinary file"),
        ([GOOD[0], ("f/test", b"", {"type": tarfile.FIFOTYPE})], "no ordinary file"),
        ([GOOD[0], ("f/test", b"", {"type": tarfile.DIRTYPE})], "no ordinary file"),
        ([("f/other", bytes(3 << 20), {}), *GOOD], "more than"),
        ([("f/train", bytes(3 << 20), {}), GOOD[1]], "more than"),
        ([("f/x", b"", {"pax_headers": {"comment": "x" * (3 << 20)}}), *GOOD], "more than"),
    ],
)  # fmt: skip
def test_archives_that_are_refused(members, words, tmp_path, monkeypatch):
    monkeypatch.setattr(tar_files, "LARGEST", 2 << 20)
    path = tar(tmp_path / "a.tar.gz", *members)
    with pytest.raises(UserError, match=words):
        unpack(path, "f", ("train", "test"), tmp_path / "to")
    assert not any(p.is_symlink() or p.name.startswith(".") for p in (tmp_path / "to").iterdir())


def test_a_cut_archive(tmp_path):
    path = tar(tmp_path / "a.tar.gz", *GOOD)
    raw = path.read_bytes()
    for length in range(0, len(raw) - 9, 7):
        path.write_bytes(raw[:length])
        with pytest.raises(UserError, match=r"a\.tar\.gz"):
            unpack(path, "f", ("train", "test"), tmp_path / "to")
