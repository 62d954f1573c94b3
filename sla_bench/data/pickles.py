"""Pickles of arrays, containers, texts and numbers, read without running anything."""

from __future__ import annotations

import os
import pickle
import re
import struct
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from sla_bench.errors import UserError

_NUMBER_OR_TEXT = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,9})")
_DAMAGE = (
    pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError,
    OverflowError, MemoryError, RecursionError, BufferError, struct.error,
)  # fmt: skip


class NotPlainError(pickle.UnpicklingError):
    """The file asks for something else than arrays, containers, texts and numbers."""


class _DType:
    """A type of numbers, or of texts of fixed width; numpy never sees the state that a file gives it."""

    def __init__(self, code: str) -> None:
        if not _NUMBER_OR_TEXT.fullmatch(code):
            raise NotPlainError(f"an array of type {code[:40]!r}")
        self.value = np.dtype(code)

    def complete(self, state: Any) -> None:
        """Take the byte order."""
        if any(part is not None for part in state[2:5]):
            raise NotPlainError("an array of records")
        if _text(state[1]) == ">":
            self.value = self.value.newbyteorder(">")


def _dtype(code: str | bytes, *_: Any) -> _DType:
    return _DType(_text(code))


def _ndarray(*_: Any) -> None:
    raise NotPlainError("a direct call of numpy.ndarray")


def _reconstruct(kind: object, *_: Any) -> np.ndarray:
    if kind is not _ndarray:
        raise NotPlainError("a subclass of numpy.ndarray")
    return np.empty(0, np.uint8)


def _frombuffer(raw: bytes, dtype: _DType, shape: tuple[int, ...], order: str | bytes) -> np.ndarray:
    flat = np.frombuffer(raw, _plain(dtype)) if raw else np.empty(0, _plain(dtype))
    return flat.reshape(shape, order="F" if _text(order) == "F" else "C")


def _scalar(dtype: _DType, raw: bytes) -> np.generic:
    value: np.generic = np.frombuffer(raw, _plain(dtype), 1)[0]
    return value


def _plain(dtype: object) -> np.dtype:
    if not isinstance(dtype, _DType):
        raise NotPlainError("an array of objects")
    return dtype.value


def _bytes(text: str | bytes = b"", encoding: str | bytes = "latin1") -> bytes:
    """`bytes()` and `bytearray()`; also `_codecs.encode(text, "latin1")`: bytes in protocols 0 to 2."""
    if _text(encoding) not in ("latin1", "latin-1"):
        raise NotPlainError(f"an encoding {_text(encoding)[:40]!r}")
    return text if isinstance(text, bytes) else _text(text).encode("latin1")


def _dict(items: Any = ()) -> dict[Any, Any]:
    """`OrderedDict(pairs)` and `defaultdict(list)`."""
    return {} if items is list else dict(items)


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _bytes,
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "list"): list,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _dict,
}
"""The names that a file may contain, each with the function that stands for it; see `find_class`."""


class _Unpickler(pickle._Unpickler):  # noqa: SLF001 - the reader in Python: in C, 5 bytes can take 64 GB
    """Calls the functions of `_NAMES` only, which copy at most twice the size of the file."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]]

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="bytes")
        self._left = 2 * os.fstat(file.fileno()).st_size

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return the function that stands for a name; numpy 2 and Python 2 have other names of modules."""
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        if (module, name) not in _NAMES:
            raise NotPlainError(f"{module}.{name}"[:120])
        return _NAMES[module, name]

    def call(self) -> None:
        """Call a function with its arguments."""
        args = self.stack.pop()
        self._spend(*args)
        self.stack[-1] = self.stack[-1](*args)

    def complete(self) -> None:
        """Complete an array or a type of numbers; nothing else has a state."""
        state = self.stack.pop()
        value: Any = self.stack[-1]
        if type(value) is np.ndarray:
            _, shape, dtype, fortran, raw = state
            self._spend(raw)
            array: Any = value
            array.__setstate__((1, shape, _plain(dtype), bool(fortran), raw))
        elif type(value) is _DType:
            value.complete(state)
        else:
            raise NotPlainError("a state where none belongs")

    def _spend(self, *copied: Any) -> None:
        self._left -= sum(
            len(part) for part in copied if not isinstance(part, type) and isinstance(part, Sized)
        )
        if self._left < 0:
            raise NotPlainError("more data than it holds")


def _opcodes() -> dict[int, Callable[[Any], None]]:
    standard = dict(pickle._Unpickler.dispatch)  # noqa: SLF001
    for name in ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"):
        del standard[getattr(pickle, name)[0]]
    # A bytearray would take the memory that the file announces before a byte is read.
    standard[pickle.BYTEARRAY8[0]] = standard[pickle.BINBYTES8[0]]
    return standard | {pickle.REDUCE[0]: _Unpickler.call, pickle.BUILD[0]: _Unpickler.complete}


_Unpickler.dispatch = _opcodes()


def load_pickle(path: Path) -> Any:
    """Read a pickle of arrays, dicts, lists, tuples, sets, texts, bytes, numbers and None; protocols 0 to 5.

    Returns:
        The object; texts of Python 2 are bytes, and arrays may be read-only views of the bytes in the file.

    Raises:
        UserError: missing, unreadable, truncated, damaged, or asking for anything else than data.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f"cannot read {path}: it is not a file")
        with path.open("rb") as file:
            return _Unpickler(file).load()
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
        TypeError: not a dict, or a key that is neither text nor bytes.
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


def load_dict(path: Path, *keys: str) -> dict[str, Any]:
    """Read a pickled dict that must have the given keys.

    Raises:
        UserError: damaged, no dict, or a key is missing.
    """
    content = load_pickle(path)
    try:
        content = text_keys(content)
    except TypeError as error:
        raise UserError(f"{path} must hold a dict with {', '.join(map(repr, keys))}: {error}") from None
    absent = [key for key in keys if key not in content]
    if absent:
        raise UserError(f"{path} has no {absent[0]!r}; found {', '.join(sorted(content)) or 'nothing'}")
    return content
