"""Pickles that can hold nothing but arrays, containers, texts and numbers.

Data sets of this field are handed around as pickles, and an ordinary unpickler runs whatever a file asks for.
Here the few names that a pickled array needs stand for inert classes of this module. They only take notes:
numpy never sees a state that comes from the file, and arrays are built afterwards from plain bytes whose
length must match.
"""

from __future__ import annotations

import math
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.errors import UserError

_PLAIN = (str, bytes, bytearray, bool, int, float, complex, type(None), np.generic)
_NUMBER_OR_TEXT = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU]\d+)")
_DAMAGE = (
    pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError,
    OverflowError, MemoryError, RecursionError, struct.error,
)  # fmt: skip


class _NotPlainError(pickle.UnpicklingError):
    """The file asks for something that is no array, container, text or number."""


class _Inert:
    """Base of the stand-ins: without `__dict__`, and deaf to the state a pickle tries to set."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise _NotPlainError("a state where none belongs")


class _NDArray(_Inert):
    """Stands for the type `numpy.ndarray`; never an instance."""

    def __new__(cls, *_: object) -> _NDArray:
        raise _NotPlainError("a direct call of numpy.ndarray")


class _DType(_Inert):
    """Stands for `numpy.dtype`: plain numbers and texts of fixed width."""

    __slots__ = ("value",)

    def __init__(self, code: str | bytes, _align: object = False, _copy: object = False) -> None:
        code = _text(code)
        if not _NUMBER_OR_TEXT.fullmatch(code):
            raise _NotPlainError(f"an array of type {code!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise _NotPlainError("an array of records")
        if _text(state[1]) == ">":
            self.value = self.value.newbyteorder(">")


class _Array(_Inert):
    """Stands for an array while its parts come in."""

    __slots__ = ("value",)
    value: np.ndarray

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _NotPlainError("an array of unknown form")
        _, shape, dtype, fortran, raw = state
        self.value = _build(raw, dtype, shape, "F" if fortran else "C")


class _Reconstruct(_Inert):
    """Stands for `numpy.core.multiarray._reconstruct`."""

    def __new__(cls, kind: object, _shape: object = (0,), _code: object = b"b") -> Any:
        if kind is not _NDArray:
            raise _NotPlainError("a subclass of numpy.ndarray")
        return _Array()


class _FromBuffer(_Inert):
    """Stands for `numpy.core.numeric._frombuffer` (protocol 5)."""

    def __new__(cls, raw: object, dtype: object, shape: object, order: object = "C", *_: object) -> Any:
        array = _Array()
        array.value = _build(raw, dtype, shape, "F" if order == "F" else "C")
        return array


class _Scalar(_Inert):
    """Stands for `numpy.core.multiarray.scalar`."""

    def __new__(cls, dtype: object, raw: object) -> Any:
        return _build(raw, dtype, (1,), "C")[0]


class _Bytes(_Inert):
    """Stands for `bytes()` and for `_codecs.encode(text, "latin1")`: bytes in protocols 0 to 2."""

    def __new__(cls, text: str | bytes = "", encoding: str | bytes = "latin1") -> Any:
        if _text(encoding) not in ("latin1", "latin-1"):
            raise _NotPlainError(f"an encoding {encoding!r}")
        return text if isinstance(text, bytes) else text.encode("latin1")


class _Set(_Inert):
    """Stands for `set(list)` in protocols 0 to 3."""

    def __new__(cls, items: list | tuple = ()) -> Any:
        return set(items)


class _List(_Inert):
    """Stands for `list` as the default of a `defaultdict`; never an instance."""

    def __new__(cls, *_: object) -> _List:
        raise _NotPlainError("a direct call of list")


class _Dict(_Inert):
    """Stands for `OrderedDict` and `defaultdict(list)`; both become a dict."""

    def __new__(cls, items: object = ()) -> Any:
        return {} if items is _List else dict(items)  # type: ignore[call-overload]


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _NDArray,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("_codecs", "encode"): _Bytes,
    ("builtins", "bytes"): _Bytes,
    ("builtins", "bytearray"): _Bytes,
    ("builtins", "list"): _List,
    ("collections", "OrderedDict"): _Dict,
    ("collections", "defaultdict"): _Dict,
    ("builtins", "set"): _Set,
    ("builtins", "frozenset"): _Set,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _NotPlainError(f"{module}.{name}") from None


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
    """
    if encoding not in ("bytes", "latin1"):
        raise ValueError(f"encoding must be 'bytes' or 'latin1', got {encoding!r}")
    try:
        with path.open("rb") as file:
            return _plain(_Unpickler(file, encoding=encoding).load(), {}, set())
    except _NotPlainError as error:
        raise UserError(
            f"{path} was not loaded: a data set holds arrays, texts and numbers, this file asks for {error}"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except _DAMAGE as error:
        raise UserError(f"{path} is {what_is_wrong(path)}; fetch it again ({error})") from None


def what_is_wrong(path: Path) -> str:
    """Say in a few words why a file that should hold arrays cannot be read, from how it begins."""
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if not start:
        return "empty"
    if start.startswith(b"<"):
        return "a web page and not data (a download that failed)"
    if start.startswith((b"version https://git-lfs", b"../.git/annex", b"/annex/objects")):
        return "a pointer to a large file and not the file itself"
    return "truncated or damaged"


def text_keys(value: Any) -> dict[str, Any]:
    """The dict with its keys as `str`; Python 2 wrote them as bytes."""
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
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(raw, bytes | bytearray) or not isinstance(dtype, _DType):
        raise _NotPlainError("an array of objects")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"no shape of an array: {shape!r}")
    if math.prod(shape) * dtype.value.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} cannot have {len(raw)} bytes")
    flat = np.frombuffer(raw, dtype.value) if raw else np.empty(0, dtype.value)
    return flat.reshape(shape, order=order)


def _plain(value: Any, done: dict[int, Any], inside: set[int]) -> Any:
    """Replace stand-ins by their arrays; containers that hold only plain values are returned as they are."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, _Array):
        return value.value
    if id(value) in done:
        return done[id(value)]
    if id(value) in inside:
        raise _NotPlainError("a container that contains itself")
    inside.add(id(value))
    result = _plain_container(value, lambda item: _plain(item, done, inside))
    inside.discard(id(value))
    done[id(value)] = result
    return result


def _plain_container(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {convert(key): convert(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        if all(type(item) in (int, str, bytes, float) for item in value):
            return value
        return type(value)(convert(item) for item in value)
    raise _NotPlainError(f"a bare {type(value).__name__.lstrip('_')}")
