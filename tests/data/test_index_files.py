import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sla_bench.data.splits import check_range, read_hashed, read_indices, with_hash
from sla_bench.errors import UserError


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(st.integers(0, 2**40), min_size=1, unique=True))
def test_every_format_says_the_same_and_the_hash_is_of_the_content(wanted, tmp_path):
    np.save(tmp_path / "a.npy", np.array(wanted))
    (tmp_path / "a.json").write_text(json.dumps(wanted[::-1]))
    (tmp_path / "a.txt").write_text("".join(f" {i}\r\n\n" for i in wanted))
    hashes = set()
    for name in ("a.npy", "a.json", "a.txt"):
        assert read_indices(tmp_path / name).tolist() == sorted(wanted)
        hashes.add(with_hash(str(tmp_path / name)).rpartition("#")[2])
    assert len(hashes) == 1


def test_a_hash_that_is_said_is_kept_and_checked(tmp_path):
    file = tmp_path / "a#b.txt"
    file.write_text("4\n2\n")
    named = with_hash(str(file))
    assert with_hash(named) == named
    index, path = read_hashed(named)
    assert (index.tolist(), path) == ([2, 4], file)
    file.unlink()
    assert with_hash(named) == named
    with pytest.raises(UserError, match=r"a#b\.txt: it can't be read: No such file"):
        read_hashed(named)


def array_file(path, array):
    np.save(path, array, allow_pickle=True)


BAD = {
    "empty.txt": (lambda p: p.write_text("\n \n"), "it is empty"),
    "empty.json": (lambda p: p.write_text("[]"), "it is empty"),
    "empty.npy": (lambda p: array_file(p, np.array([], np.int64)), "it is empty"),
    "twice.txt": (lambda p: p.write_text("4\n2\n4\n"), "position 4 is given more than once"),
    "twice.npy": (lambda p: array_file(p, np.array([3, 3])), "position 3 is given more than once"),
    "negative.json": (lambda p: p.write_text("[3, -1]"), "positions count from 0, found -1"),
    "words.txt": (lambda p: p.write_text("1\ntwo\n"), "line 2 is 'two'"),
    "fractions.txt": (lambda p: p.write_text("1.5"), "line 1 is '1.5'"),
    "fractions.npy": (lambda p: array_file(p, np.array([1.0])), "found float64 (1,)"),
    "matrix.npy": (lambda p: array_file(p, np.ones((2, 2), int)), "found int64 (2, 2)"),
    "objects.npy": (lambda p: array_file(p, np.array([{}])), "positions must be whole numbers: "),
    "cut.npy": (lambda p: p.write_bytes(b"\x93NUMPY\x01"), "positions must be whole numbers: "),
    "void.npy": (lambda p: p.write_bytes(b""), "positions must be whole numbers: "),
    "mapping.json": (lambda p: p.write_text('{"val": [1]}'), "a JSON list of them is wanted"),
    "truth.json": (lambda p: p.write_text("[1, true]"), "a JSON list of them is wanted"),
    "cut.json": (lambda p: p.write_text("[1, 2"), "positions must be whole numbers: Expecting"),
    "picture.txt": (lambda p: p.write_bytes(b"\xff\xd8\xff\xe0"), "it is not text"),
    "huge.txt": (lambda p: p.write_text("9" * 22), "positions must be whole numbers: line 1 is"),
    "missing.txt": (lambda p: None, "it can't be read: No such file"),
    "folder.npy": (lambda p: p.mkdir(), "it can't be read: Is a directory"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_list_of_positions_is_refused_with_the_file(name, tmp_path):
    write, what = BAD[name]
    write(tmp_path / name)
    with pytest.raises(UserError) as error:
        read_indices(tmp_path / name)
    assert what in str(error.value)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_positions_beyond_the_images_are_refused(tmp_path):
    check_range(np.array([0, 9]), 10, tmp_path)
    with pytest.raises(UserError, match="10 training images, position 10 is out of range"):
        check_range(np.array([0, 10]), 10, tmp_path)
