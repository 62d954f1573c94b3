"""Pickles: data come back, and nothing in them runs."""

import builtins
import collections
import os
import pickle
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_formats import python2_pickle

from sla_bench.data.pickles import load_pickle, text_keys
from sla_bench.errors import UserError


def roundtrip(tmp_path, raw):
    path = tmp_path / "file.pickle"
    path.write_bytes(raw)
    return load_pickle(path)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_containers_come_back(tmp_path, protocol):
    value = {
        "images": np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        "big endian": np.arange(3, dtype=">i4"),
        "floats": np.array([0.5, np.inf]),
        "none at all": np.empty((0, 7), np.uint8),
        "texts": np.array(["ab", "c"]),
        "scalar": np.int64(7),
        "list": [np.arange(2), (1, 2.5, True, None), {"x", "y"}, frozenset({3})],
        "raw": b"\x00\xff",
        "no bytes": b"",
        "buffer": bytearray(b"abc"),
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, a=[1]),
    }
    got = roundtrip(tmp_path, pickle.dumps(value, protocol))
    assert list(got) == list(value)
    for key in ("images", "fortran", "big endian", "floats", "none at all", "texts"):
        np.testing.assert_array_equal(got[key], value[key])
        assert got[key].dtype.newbyteorder("=") == value[key].dtype.newbyteorder("=")
    np.testing.assert_array_equal(got["list"][0], value["list"][0])
    assert got["list"][1:] == value["list"][1:]
    for key in ("scalar", "raw", "no bytes", "buffer", "ordered", "default"):
        assert got[key] == value[key]


def test_python2_texts(tmp_path):
    images = np.arange(256, dtype=np.uint8).reshape(2, 128)
    raw = python2_pickle({"data": images, "labels": [3, 4]})
    assert b"cnumpy.core.multiarray" in raw
    got = roundtrip(tmp_path, raw)
    np.testing.assert_array_equal(got[b"data"], images)
    assert text_keys(got)["labels"] == [3, 4]


def test_a_pickle_that_python2_really_wrote():
    """From numpy's own tests: a float array with the text of an old pickle."""
    path = Path(np.__file__).parent / "_core" / "tests" / "data" / "astype_copy.pkl"
    if not path.exists():
        pytest.skip("numpy was installed without its test data")
    got = load_pickle(path)
    with path.open("rb") as file:
        expected = pickle.load(file, encoding="bytes")
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.float64


def test_shared_parts_stay_shared(tmp_path):
    array = np.arange(3)
    got = roundtrip(tmp_path, pickle.dumps([[array, array], array]))
    assert got[0][0] is got[0][1] is got[1]


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


def build(module, name, args=b")", extra=b""):
    return b"\x80\x02c" + module + b"\n" + name + b"\n" + args + b"R" + extra + b"."


MALICIOUS = {
    "os.system": pickle.dumps(Call(os.system, "echo hello")),
    "eval": pickle.dumps(Call(eval, "1 + 1")),
    "inside a dict": pickle.dumps({"data": np.arange(3), "labels": Call(os.system, "true")}),
    "inst opcode": b"(S'true'\nios\nsystem\n.",
    "obj opcode": b"(cos\nsystem\nS'true'\no.",
    "newobj": b"\x80\x02cbuiltins\nobject\n)\x81.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0aos.listdir\x93)R.",
    "codec that runs": build(b"_codecs", b"encode", b"(X\x01\x00\x00\x00aU\x03zipt"),
    "object array": pickle.dumps(np.array([{}, []], dtype=object)),
    "structured by state": build(
        b"numpy", b"dtype", b"(U\x02u1t", b"(K\x03U\x01|NU\x01a\x85}K\x08K\x01K\x00tb"
    ),
    "persistent id": b"Pos.system\n.",
    "extension": b"\x80\x02\x82\x01.",
    "slots on a stand-in": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nN}U\x0c__defaults__K\x01s\x86b.",
    "allocate": build(b"builtins", b"bytearray", b"(J\xff\xff\xff\x7ft"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MALICIOUS)
def test_nothing_but_data(tmp_path, kind, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("it ran")

    monkeypatch.setattr(os, "system", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(UserError, match=r"file\.pickle") as caught:
        roundtrip(tmp_path, MALICIOUS[kind])
    assert "\n" not in str(caught.value)


def test_the_message_names_what_was_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"asks for posix\.system"):
        roundtrip(tmp_path, MALICIOUS["os.system"])


def test_shape_and_bytes_must_agree(tmp_path):
    class Lying:
        def __reduce__(self):
            function, args, (version, _, dtype, fortran, raw) = np.zeros(4, np.uint8).__reduce__()
            return function, args, (version, (2**40,), dtype, fortran, raw)

    with pytest.raises(UserError, match="truncated or damaged"):
        roundtrip(tmp_path, pickle.dumps(Lying()))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>quota exceeded</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "pointer"),
        (b"\x93NUMPY\x01\x00", "damaged"),
    ],
)
def test_what_came_instead(tmp_path, raw, words):
    with pytest.raises(UserError, match=words):
        roundtrip(tmp_path, raw)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*absent"):
        load_pickle(tmp_path / "absent")
    with pytest.raises(UserError, match="cannot read"):
        load_pickle(tmp_path)


RAW = python2_pickle({"data": np.arange(300, dtype=np.int64), "labels": list(range(20))})


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("pickles") / "file.pickle"


@settings(max_examples=150)
@given(st.integers(0, len(RAW) - 1))
def test_truncation_anywhere_is_found(scratch, length):
    scratch.write_bytes(RAW[:length])
    with pytest.raises(UserError):
        load_pickle(scratch)


# Its name before NumPy 2.
CORE = np._core if hasattr(np, "_core") else np.core


def refuse(path, raw):
    path.write_bytes(raw)
    with pytest.raises(UserError) as caught:
        load_pickle(path)
    assert str(caught.value).isprintable()


def payloads(canary):
    """Each would make the folder `canary`, in one way or another."""
    mkdir = f"__import__('os').mkdir({canary!r})"
    return [
        Call(os.mkdir, canary),
        Call(eval, mkdir),
        Call(exec, mkdir),
        Call(builtins.map, os.mkdir, [canary]),
        Call(os.system, f"mkdir {canary}"),
        Call(os.makedirs, canary),
        Call(np.load, canary),
        Call(Call, os.mkdir, canary),
        Call(np.ndarray, (3,)),
        Call(np.dtype, "O"),
        Call(np.dtype, [("a", "O")]),
        Call(np.matrix, [[1]]),
        Call(CORE.multiarray._reconstruct, np.matrix, (0,), b"b"),
        Call(CORE.multiarray.scalar, np.dtype("O"), b"x"),
        Call(np.zeros, 3),
        np.array([Call(os.mkdir, canary)], dtype=object),
        np.array([{}, [Call(os.mkdir, canary)]], dtype=object),
        np.zeros(2, dtype=[("a", "O")]),
        np.ma.masked_array([1], [True]),
        np.array(["2020"], dtype="M8[Y]"),
    ]


def wrapped(inner):
    return (
        st.lists(inner, min_size=1, max_size=3)
        | st.tuples(inner, st.integers())
        | st.dictionaries(st.sampled_from(["data", "labels"]), inner, min_size=1)
        | inner.map(lambda value: Call(dict, [("labels", value)]))
        | inner.map(lambda value: Call(CORE.multiarray._reconstruct, np.ndarray, (0,), b"b", state=value))
        | inner.map(lambda value: Call(CORE.multiarray.scalar, np.dtype("u1"), value))
        | inner.map(lambda value: [value, np.arange(3)])
    )


@settings(max_examples=100)
@given(st.data(), st.integers(0, 5))
def test_nothing_hidden_in_a_structure_runs(scratch, data, protocol):
    canary = scratch.with_name("canary")
    which = st.sampled_from(payloads(str(canary)))
    value = data.draw(st.recursive(which, wrapped, max_leaves=4))
    scratch.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(UserError):
        load_pickle(scratch)
    assert not canary.exists()


def long1(value):
    raw = value.to_bytes(12, "little", signed=True)
    return b"\x8a\x0c" + raw


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
DTYPE = b"cnumpy\ndtype\nU\x02u1\x85R"
BOMBS = {
    "a place in the memo": b"\x80\x02]r\xff\xff\xff\x0f" + b"0N" * 3 + b"a.",
    "a frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 3 << 30) + b".",
    "a product of dimensions": b"\x80\x02" + ARRAY + b"(K\x01(" + long1(1 << 60) * 30
    + b"t" + DTYPE + b"\x89U\x01atb.",
    "bytes of one text": b"\x80\x02c_codecs\nencode\nq\x01X"
    + struct.pack("<I", 1 << 20)
    + b"a" * (1 << 20)
    + b"q\x02]("
    + b"h\x01h\x02\x85R" * 100_000
    + b"e.",
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_cost_neither_memory_nor_time(kind, scratch):
    resource = pytest.importorskip("resource")
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    scratch.write_bytes(BOMBS[kind])
    with pytest.raises(UserError):
        load_pickle(scratch)
    assert time.process_time() - started < 10
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < 200
