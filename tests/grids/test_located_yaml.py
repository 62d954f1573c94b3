import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sla_bench.errors import UserError
from sla_bench.grids.located_yaml import read_yaml


def read(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


def lines_of(located):
    if isinstance(located.content, dict):
        return {key: value.line for key, value in located.content.items()}
    return [value.line for value in located.content]


def test_a_value_knows_the_line_of_its_key_and_an_item_its_own(tmp_path):
    root = read(tmp_path, "# comment\na: 1\nb:\n\n  - x\n  - y\nc:\n  5\n")
    assert lines_of(root) == {"a": 2, "b": 3, "c": 7}
    assert lines_of(root.content["b"]) == [5, 6]
    assert root.plain == {"a": 1, "b": ["x", "y"], "c": 5}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("abc: -#'\"\nö", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc-_ ", min_size=1), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(plain)
def test_what_pyyaml_writes_is_read_as_pyyaml_reads_it(tmp_path_factory, value):
    text = yaml.safe_dump(value)
    assert read(tmp_path_factory.mktemp("yaml"), text).plain == yaml.safe_load(text)


def test_numbers_are_read_as_people_write_them(tmp_path):
    root = read(tmp_path, "[1e-3, 2E5, '1e-3', 1.5, 10_000, 2020-01-01, no, none, ~]")
    assert root.plain == [0.001, 200000.0, "1e-3", 1.5, 10_000, "2020-01-01", False, "none", None]


def test_anchors_aliases_and_merged_mappings(tmp_path):
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: {<<: [{x: 9}, *a], z: 0}\nd: *a\n"
    root = read(tmp_path, text).plain
    assert root == yaml.safe_load(text)
    assert root["b"] == {"x": 1, "y": 3}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{n}: &{n} {{<<: [{','.join([f'*{p}'] * 9)}], k{n}: 1}}\n"
    for p, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        ("a: 1\nb: [1, 2\n", 3, "not YAML"),
        ("a: 1\n b: 2\n", 2, "not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "not YAML: but found another document"),
        ("a: 1\nb: 2\na: 3\n", 3, "a is given twice, first on line 1"),
        ("a:\n  x: 1\n  x: 1\n", 3, "x is given twice"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", 2, "tags are not read here"),
        ("a: !mine 1\n", 1, "tags are not read here: !mine"),
        ("a: !!set {x, y}\n", 1, "tags are not read here"),
        ("a: !!int abc\n", 1, "'abc' is not a value"),
        ("a: !!int ''\n", 1, "'' is not a value"),
        ("{[1]: 2}\n", 1, "a key must be a name"),
        ("a: 1\nb: *nowhere\n", 2, "undefined alias"),
        ("a: &a [*a]\n", 1, "nested too deeply"),
        ("a: {<<: 5}\n", 1, "<<: takes a mapping"),
        (BOMB, 1, "aliases write out to more than 200,000 values"),
        (MERGE_BOMB, 1, "aliases write out to more than 200,000 values"),
        (b"a: 1\nb: 2\nc: \xff\n", 3, "not UTF-8"),
        ("a: 1\nb: \x07\n", 2, "not YAML"),
    ],
)
def test_mistakes_have_their_line(tmp_path, text, line, fragment):
    started = time.process_time()
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert time.process_time() - started < 5
    assert str(error.value).startswith(f"{tmp_path / 'x.yaml'}:{line}: ")
    assert fragment in str(error.value)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("[" * 5000, "nested too deeply"),
        ("a" * 1_000_001, "bytes"),
    ],
)
def test_files_that_are_no_grid(tmp_path, text, fragment):
    with pytest.raises(UserError, match=fragment):
        read(tmp_path, text)


def test_no_file_or_a_folder(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match="is a folder"):
        read_yaml(tmp_path)
    with pytest.raises(UserError, match="can't be read"):
        read_yaml(tmp_path / "nul\0.yaml")
