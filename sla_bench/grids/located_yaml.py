"""YAML as plain values with their lines: safe, small, without tags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sla_bench.errors import UserError
from sla_bench.words import nearest_path

LARGEST_FILE = 1_000_000
"""Bytes."""
MOST_VALUES = 200_000
"""After aliases are written out."""
DEEPEST = 20
_LONGEST_MESSAGE = 500
_LONGEST_NUMBER = 400
"""Characters. YAML 1.1 reads 1:2:3 as minutes and seconds, in quadratic time."""

_PREFIX = "tag:yaml.org,2002:"
_PLAIN_TAGS = {
    f"{_PREFIX}{t}" for t in ("str", "int", "float", "bool", "null", "seq", "map", "merge", "timestamp")
}
# YAML 1.1 reads 1e-3 as a string.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


@dataclass(frozen=True)
class Located:
    """A value and where it stands.

    Args:
        content: str, int, float, bool, None, a list of `Located` or a dict of them.
        line: from 1; in a mapping that of its key.
        path: of the file.
    """

    content: Any
    line: int
    path: Path

    @property
    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.content, dict):
            return {key: value.plain for key, value in self.content.items()}
        if isinstance(self.content, list):
            return [value.plain for value in self.content]
        return self.content

    @property
    def words(self) -> str:
        """What it is, for an error; short, whatever it holds."""
        if isinstance(self.content, dict):
            return "a mapping"
        if isinstance(self.content, list):
            return "a list"
        return "nothing" if self.content is None else repr(self.content)[:60]

    def holding(self, content: Any) -> Located:
        """Another content at the same place."""
        return Located(content, self.line, self.path)

    def error(self, what: str) -> LocatedError:
        """The error for a mistake here."""
        return LocatedError(self.path, self.line, what)

    @contextmanager
    def naming(self, what: str) -> Iterator[None]:
        """Give errors this place, and a name."""
        try:
            yield
        except UserError as error:
            raise self.error(f"{what}: {str(error).removeprefix('--set ')}") from None


class LocatedError(UserError):
    """A mistake at a line of a file: `FILE:LINE: what`."""

    def __init__(self, path: Path, line: int, what: str) -> None:
        super().__init__(f"{path}:{line}: {what[:_LONGEST_MESSAGE]}")


def read_yaml(path: Path) -> Located:
    """Read a file of one YAML document.

    Raises:
        UserError: no file, not UTF-8, larger than LARGEST_FILE, not YAML, a tag, a key that is given twice,
            or aliases that write out to more than MOST_VALUES values.
    """
    return _Reader(path).read(_text_of(path))


def _text_of(path: Path) -> str:
    if path.is_dir():
        raise UserError(f"{path} is a folder; a grid is a YAML file")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{nearest_path(path)}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > LARGEST_FILE:
        raise UserError(f"{path}: more than {LARGEST_FILE:,} bytes; is it a grid file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LocatedError(path, line, "not UTF-8 text") from None


class _Reader:
    """Turns the nodes of one file into located values."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values = 0
        self.scalars = yaml.constructor.SafeConstructor()

    def read(self, text: str) -> Located:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise LocatedError(self.path, line, f"not YAML: {error.problem or error.context}") from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise LocatedError(self.path, line, f"not YAML: {error.reason}") from None
        except RecursionError:
            raise UserError(f"{self.path}: nested too deeply") from None
        if node is None:
            raise UserError(f"{self.path}: the file is empty")
        return Located(self._content(node, 0), _line(node), self.path)

    def _content(self, node: yaml.Node, depth: int) -> Any:
        self.values += 1
        if self.values > MOST_VALUES:
            self._fail(node, f"its aliases write out to more than {MOST_VALUES:,} values")
        if depth > DEEPEST:
            self._fail(node, "nested too deeply")
        if node.tag not in _PLAIN_TAGS:
            self._fail(node, f"tags are not read here: {node.tag.removeprefix(_PREFIX)}")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [Located(self._content(item, depth + 1), _line(item), self.path) for item in node.value]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value)
        if node.style is None and _EXPONENT.fullmatch(text):
            return float(text)
        if len(text) > _LONGEST_NUMBER and node.tag in (f"{_PREFIX}int", f"{_PREFIX}float"):
            return self._fail(node, f"{text[:60]!r}... is not a value")
        if node.tag in (f"{_PREFIX}timestamp", f"{_PREFIX}merge"):
            return text
        try:
            return self.scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError, IndexError):
            return self._fail(node, f"{text[:60]!r} is not a value")

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Located]:
        own: dict[str, Located] = {}
        merged: dict[str, Located] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_PREFIX}merge":
                for name, value in self._merged(value_node, depth).items():
                    merged.setdefault(name, value)
                continue
            key = self._content(key_node, depth + 1)
            if isinstance(key, dict | list):
                self._fail(key_node, "a key must be a name")
            name = key if isinstance(key, str) else str(key_node.value)
            if name in own:
                self._fail(key_node, f"{name} is given twice, first on line {own[name].line}")
            own[name] = Located(self._content(value_node, depth + 1), _line(key_node), self.path)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, Located]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        mappings: list[dict[str, Located]] = []
        for part in nodes:
            content = self._content(part, depth + 1)
            if not isinstance(content, dict):
                self._fail(part, "<<: takes a mapping, or a list of mappings")
            mappings.append(content)
        found: dict[str, Located] = {}
        for mapping in reversed(mappings):
            found.update(mapping)
        return found

    def _fail(self, node: yaml.Node, what: str) -> Any:
        raise LocatedError(self.path, _line(node), what)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
