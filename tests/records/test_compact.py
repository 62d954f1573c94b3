import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sla_bench.records.record_files import checked_samples, compact_samples, samples_bytes


@given(hnp.arrays(np.int64, st.integers(0, 5), elements=st.integers(-(2**40), 2**40)))
def test_integers_keep_their_values_in_the_smallest_type(array):
    small = compact_samples({"x": array})["x"]
    np.testing.assert_array_equal(small, array)
    candidates = [
        t for t in (np.uint8, np.uint16, np.int16, np.int32) if np.array_equal(array.astype(t), array)
    ]
    assert small.dtype.itemsize == min([np.dtype(t).itemsize for t in candidates], default=8)


def test_floats_become_float16_and_stay_finite():
    samples = {"confidence/x": np.array([0.1, 1], np.float32), "nll/x": np.array([1e5, 2.5])}
    small = compact_samples(samples)
    np.testing.assert_array_equal(small["confidence/x"], np.array([0.1, 1], np.float16))
    np.testing.assert_array_equal(small["nll/x"], [65504, 2.5])
    assert {array.dtype for array in small.values()} == {np.dtype(np.float16)}


def test_what_is_written_is_read_and_the_same_again():
    samples = {"hits/SLA+AG": np.arange(6, dtype=np.uint8).reshape(2, 3), "x": np.array([0.5], np.float16)}
    content = samples_bytes(samples)
    assert content == samples_bytes(samples)
    for found in (checked_samples(content), dict(np.load(io.BytesIO(content), allow_pickle=False))):
        assert list(found) == list(samples)
        for name, array in samples.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def npz_of(content, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", content)
    return buffer.getvalue()


def npy_of(array, header=None):
    buffer = io.BytesIO()
    if header is None:
        np.save(buffer, array, allow_pickle=True)
    else:
        np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


HUGE = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"no archive", "damaged"),
        (npz_of(npy_of(np.array([{"a": 1}], dtype=object))), "not of numbers"),
        (npz_of(npy_of(None, HUGE)), "of another size than it says"),
        (npz_of(bytes(300 << 20)), "more than"),
        (npz_of(npy_of(np.zeros(3)))[:-30], "damaged"),
    ],
    ids=["text", "objects", "header lies", "bomb", "cut"],
)
def test_files_from_strangers_are_not_believed(content, fragment):
    with pytest.raises(ValueError, match=fragment):
        checked_samples(content)


@given(place=st.integers(0, 10**6), value=st.integers(0, 255), method=st.sampled_from([0, 8]))
def test_a_byte_that_was_changed_is_noticed_or_changes_nothing(place, value, method):
    array = np.arange(300, dtype=np.int16)
    content = bytearray(npz_of(npy_of(array), method))
    content[place % len(content)] = value
    try:
        found = checked_samples(bytes(content))
    except ValueError:
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for (name, own), member in zip(found.items(), archive.namelist(), strict=True):
            assert member.removesuffix(".npy") == name
            np.testing.assert_array_equal(own, array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_headers_of_both_versions_are_read_and_others_refused(version):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(5), version=version)
    np.testing.assert_array_equal(checked_samples(npz_of(buffer.getvalue()))["x"], np.arange(5))
    for wrong in (b"\x93NUMPY\x07\x00", b"\x93NUMPY", b"", b"\x93NUMPY\x02\x00\xff\xff\xff\x7f"):
        with pytest.raises(ValueError, match=r"not a \.npy file"):
            checked_samples(npz_of(wrong))
