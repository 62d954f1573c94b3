"""Pickles that can hold nothing but arrays, containers, texts and numbers.

Data sets of this field are handed around as pickles, and an ordinary unpickler runs whatever a file asks for.
Here the few names that a pickled array needs stand for functions of this module, which only take notes: numpy
never sees a state that comes from the file, and arrays are built from plain bytes whose length must match.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.datasets.pickle_machine import Machine, Named, NotPlainError, checked_keys
from sla_bench.errors import UserError

_PLAIN = (str, bytes, bool, int, float, complex, type(None), np.generic)
_NUMBER_OR_TEXT = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,9})")
_MOST_DIMENSIONS = 32
_DEEPEST = 20
_DAMAGE = (
    pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError,
    OverflowError, MemoryError, RecursionError, struct.error,
)  # fmt: skip


class _DType:
    """A type of plain numbers, or of texts of fixed width."""

    __slots__ = ("value",)

    def __init__(self, code: str) -> None:
        if not _NUMBER_OR_TEXT.fullmatch(code):
            raise NotPlainError(f"an array of type {code[:40]!r}")
        self.value = np.dtype(code)

    def set_state(self, state: object) -> None:
        """Take the byte order."""
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise NotPlainError("an array of records")
        if _text(state[1]) == ">":
            self.value = self.value.newbyteorder(">")


class _Array:
    """An array while its parts come in."""

    __slots__ = ("value",)
    value: np.ndarray

    def set_state(self, state: object) -> None:
        """Take shape, type and content."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise NotPlainError("an array of unknown form")
        _, shape, dtype, fortran, raw = state
        if isinstance(raw, str):  # read as latin1
            raw = raw.encode("latin1")
        self.value = _build(raw, dtype, shape, "F" if fortran else "C")


def _ndarray(machine: Machine, args: tuple[Any, ...]) -> Any:
    raise NotPlainError("a direct call of numpy.ndarray")


def _dtype(machine: Machine, args: tuple[Any, ...]) -> _DType:
    return _DType(_text(args[0]))


def _reconstruct(machine: Machine, args: tuple[Any, ...]) -> _Array:
    if args[0] is not _NDARRAY:
        raise NotPlainError("a subclass of numpy.ndarray")
    return _Array()


def _frombuffer(machine: Machine, args: tuple[Any, ...]) -> _Array:
    raw, dtype, shape, order = args
    array = _Array()
    array.value = _build(raw, dtype, shape, "F" if order == "F" else "C")
    return array


def _scalar(machine: Machine, args: tuple[Any, ...]) -> np.generic:
    dtype, raw = args
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    machine.spend(len(raw))
    value: np.generic = _build(raw, dtype, (1,), "C")[0]
    return value


def _bytes(machine: Machine, args: tuple[Any, ...]) -> bytes:
    """`bytes()`, and `_codecs.encode(text, "latin1")`: bytes in protocols 0 to 2."""
    text, encoding = (*args, "latin1")[:2] if args else ("", "latin1")
    if _text(encoding) not in ("latin1", "latin-1"):
        raise NotPlainError(f"an encoding {_text(encoding)[:40]!r}")
    if isinstance(text, bytes):
        return text
    machine.spend(len(_text(text)))
    return _text(text).encode("latin1")


def _set(machine: Machine, args: tuple[Any, ...]) -> set[Any]:
    items = args[0] if args else ()
    if not isinstance(items, list | tuple):
        raise NotPlainError("a set of something else than a list")
    machine.spend(len(items))
    checked_keys(items)
    return set(items)


def _list(machine: Machine, args: tuple[Any, ...]) -> Any:
    raise NotPlainError("a direct call of list")


def _dict(machine: Machine, args: tuple[Any, ...]) -> dict[Any, Any]:
    """`OrderedDict` and `defaultdict(list)`; both become a dict."""
    items = args[0] if args else ()
    if items is _LIST:
        return {}
    if not isinstance(items, list | tuple):
        raise NotPlainError("a dict of something else than a list")
    machine.spend(len(items))
    checked_keys(key for key, _ in items)
    return dict(items)


_NDARRAY, _LIST = Named(_ndarray), Named(_list)
_NAMES = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Named(_dtype),
    ("numpy.core.multiarray", "_reconstruct"): Named(_reconstruct),
    ("numpy.core.multiarray", "scalar"): Named(_scalar),
    ("numpy.core.numeric", "_frombuffer"): Named(_frombuffer),
    ("_codecs", "encode"): Named(_bytes),
    ("builtins", "bytes"): Named(_bytes),
    ("builtins", "bytearray"): Named(_bytes),
    ("builtins", "list"): _LIST,
    ("collections", "OrderedDict"): Named(_dict),
    ("collections", "defaultdict"): Named(_dict),
    ("builtins", "set"): Named(_set),
    ("builtins", "frozenset"): Named(_set),
}
"""Old names of modules are replaced before: see `Machine.find_class`."""


def load_pickle(path: Path, encoding: str = "bytes") -> Any:
    """Read a pickle of arrays, dicts, lists, tuples, sets, texts, bytes, numbers and None; protocols 0 to 5.

    Args:
        path: the file.
        encoding: how texts of Python 2 are read: "bytes" leaves them as bytes (needs least memory), "latin1"
            makes them `str`.

    Returns:
        The object. Arrays may be read-only views of the bytes in the file.

    Raises:
        UserError: no such file, not readable, truncated, damaged, or asking for anything else than data.
        ValueError: another encoding.
    """
    if encoding not in ("bytes", "latin1"):
        raise ValueError(f"encoding must be 'bytes' or 'latin1', got {encoding!r}")
    try:
        if not path.is_file() and not path.is_dir() and path.exists():
            raise UserError(f"cannot read {path}: it is no file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _plain(Machine(file, size, encoding, _NAMES, (_DType, _Array)).load(), {}, set())
    except NotPlainError as error:
        raise UserError(
            f"{path} was not loaded: a data set holds arrays, texts and numbers, this file asks for {error}"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except _DAMAGE as error:
        raise UserError(f"{path} is {what_is_wrong(path)}; fetch it again ({error})") from None


def what_is_wrong(path: Path) -> str:
    """Say in a few words why a file that should hold arrays cannot be read, from how it begins."""
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
    except OSError:
        return "not readable"
    if not start:
        return "empty"
    if start.startswith(b"<"):
        return "a web page and not data (a download that failed)"
    if start.startswith((b"version https://git-lfs", b"../.git/annex", b"/annex/objects")):
        return "a pointer to a large file and not the file itself"
    return "truncated or damaged"


def text_keys(value: Any) -> dict[str, Any]:
    """The dict with its keys as `str`; Python 2 wrote them as bytes.

    Raises:
        TypeError: no dict, or a key that is neither text nor bytes.
    """
    if not isinstance(value, dict):
        raise TypeError(f"expected a dict, found {type(value).__name__}")
    return {_text(key): item for key, item in value.items()}


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {type(value).__name__}")
    return value


def _build(raw: object, dtype: object, shape: object, order: Any) -> np.ndarray:
    if not isinstance(raw, bytes) or not isinstance(dtype, _DType):
        raise NotPlainError("an array of objects")
    if (
        not isinstance(shape, tuple)
        or len(shape) > _MOST_DIMENSIONS
        or not all(type(n) is int and n >= 0 for n in shape)
    ):
        raise ValueError("no shape of an array")
    if math.prod(shape) * dtype.value.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} cannot have {len(raw)} bytes")
    flat = np.frombuffer(raw, dtype.value) if raw else np.empty(0, dtype.value)
    return flat.reshape(shape, order=order)


def _plain(value: Any, done: dict[int, Any], inside: set[int]) -> Any:
    """Replace unfinished arrays by arrays; containers of plain values alone are returned as they are."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, _Array):
        return value.value
    if id(value) in done:
        return done[id(value)]
    if id(value) in inside:
        raise NotPlainError("a container that contains itself")
    if len(inside) == _DEEPEST:
        raise NotPlainError(f"containers that are nested more than {_DEEPEST} deep")
    inside.add(id(value))
    result = _plain_container(value, lambda item: _plain(item, done, inside))
    inside.discard(id(value))
    done[id(value)] = result
    return result


def _plain_container(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: convert(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        if all(type(item) in (int, str, bytes, float) for item in value):
            return value
        return type(value)(convert(item) for item in value)
    raise NotPlainError(f"a bare {type(value).__name__.lstrip('_')}")
