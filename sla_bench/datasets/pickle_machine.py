"""Runs the opcodes of a pickle that build data, and knows no others.

An ordinary unpickler calls whatever stands on its stack, trusts announced sizes, and hashes whatever is used
as a key. Here a name becomes a `Named` of ours, nothing else is ever called, sizes are held against the file,
keys are texts and whole numbers, and what a file may make is bounded by its own size.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

MOST_PARTS = 20_000_000
"""Containers, arrays and remembered values of one file: the largest published one has about 5 million."""
_LONGEST_NUMBER = 24  # characters of a whole number with 64 bits
_BITS = 64
_KEY_LIMIT = 1 << 60  # smaller whole numbers are their own hash: no two of them collide by design

Handler = Callable[[Any], None]
_STANDARD: Mapping[int, Handler] = pickle._Unpickler.dispatch  # noqa: SLF001 - the reader in Python


class NotPlainError(pickle.UnpicklingError):
    """The file asks for something that is no array, container, text or number."""


class Named:
    """What a name in a file stands for.

    Args:
        make: from the arguments in the file to a plain value; it may `spend`.
    """

    __slots__ = ("make",)

    def __init__(self, make: Callable[[Machine, tuple[Any, ...]], Any]) -> None:
        self.make = make


class _Bounded:
    """A file that says at once when it cannot give as many bytes as a size in it announces."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        if count > 4096 and count > self._size - self._file.tell():
            raise EOFError(f"{count:,} bytes are announced, the file has fewer")
        found = self._file.read(count)
        if len(found) < count:
            raise EOFError("it ends too early")
        return found


class Machine(pickle._Unpickler):  # noqa: SLF001
    """Reads one pickle.

    Args:
        file: at its beginning.
        size: of the file in bytes.
        encoding: "bytes" or "latin1", for the texts of Python 2.
        names: what the file may name.
        unfinished: types with `set_state`, which a state in the file completes (BUILD).
    """

    # Those of the base class that the handlers use.
    stack: list[Any]
    memo: dict[int, Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        encoding: str,
        names: Mapping[tuple[str, str], Named],
        unfinished: tuple[type, ...],
    ) -> None:
        super().__init__(_Bounded(file, size), encoding=encoding)
        self._names, self.unfinished = names, unfinished
        self._parts, self._left = 0, 2 * size

    def find_class(self, module: str, name: str) -> Named:
        """What a name stands for.

        Raises:
            NotPlainError: nothing.
        """
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        try:
            return self._names[module, name]
        except KeyError:
            raise NotPlainError(f"{module}.{name}"[:120]) from None

    def spend(self, amount: int) -> None:
        """Note that bytes or items are made of others: a file cannot hold fewer than it makes.

        Raises:
            NotPlainError: more than twice as many as the file has bytes.
        """
        self._left -= amount
        if self._left < 0:
            raise NotPlainError("more data than it holds")

    def count(self) -> None:
        """Note that there is one more part.

        Raises:
            NotPlainError: more than MOST_PARTS.
        """
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise NotPlainError(f"more than {MOST_PARTS:,} parts")


def checked_keys(keys: Iterable[object]) -> None:
    """Refuse what is no key of a dict or element of a set here.

    Raises:
        NotPlainError: no text, small whole number, bool or None. Of other types one can make many with the
            same hash, or some whose hash overflows the stack.
    """
    for key in keys:
        if type(key) in (str, bytes, bool) or key is None:
            continue
        if type(key) is int and -_KEY_LIMIT < key < _KEY_LIMIT:
            continue
        raise NotPlainError("a key that is neither a text nor a whole number")


def _counted(handler: Handler) -> Handler:
    def handle(machine: Machine) -> None:
        machine.count()
        handler(machine)

    return handle


def _whole(handler: Handler) -> Handler:
    def handle(machine: Machine) -> None:
        handler(machine)
        if int(machine.stack[-1]).bit_length() > _BITS:
            raise NotPlainError(f"a whole number of more than {_BITS} bits")

    return handle


def _refused(what: str) -> Handler:
    def handle(_: Machine) -> None:
        raise NotPlainError(what)

    return handle


def _text_number(machine: Machine) -> None:
    line = machine.readline()[:-1]
    if len(line) > _LONGEST_NUMBER:
        raise NotPlainError(f"a whole number of more than {_BITS} bits")
    machine.append(bool(int(line)) if line in (b"00", b"01") else int(line.rstrip(b"L")))


def _long4(machine: Machine) -> None:
    count = int.from_bytes(machine.read(4), "little")
    if count > _LONGEST_NUMBER:
        raise NotPlainError(f"a whole number of more than {_BITS} bits")
    machine.append(int.from_bytes(machine.read(count), "little", signed=True))


def _put(machine: Machine) -> None:
    line = machine.readline()[:-1]
    if len(line) > 10 or not line.isdigit():
        raise ValueError(f"no place to remember: {line[:20]!r}")
    machine.memo[int(line)] = machine.stack[-1]


def _bytes8(machine: Machine) -> None:
    machine.append(machine.read(int.from_bytes(machine.read(8), "little")))


def _of_type(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise NotPlainError(f"to treat a {type(value).__name__} as a {kind.__name__}"[:120])
    return value


def _append(machine: Machine) -> None:
    value = machine.stack.pop()
    _of_type(machine.stack[-1], list).append(value)


def _appends(machine: Machine) -> None:
    items = machine.pop_mark()
    _of_type(machine.stack[-1], list).extend(items)


def _set_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    checked_keys((key,))
    _of_type(machine.stack[-1], dict)[key] = value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("a key without a value")
    checked_keys(items[::2])
    return dict(zip(items[::2], items[1::2], strict=True))


def _dict(machine: Machine) -> None:
    items = _pairs(machine.pop_mark())
    machine.append(items)


def _set_items(machine: Machine) -> None:
    items = _pairs(machine.pop_mark())
    _of_type(machine.stack[-1], dict).update(items)


def _add_items(machine: Machine) -> None:
    items = machine.pop_mark()
    checked_keys(items)
    _of_type(machine.stack[-1], set).update(items)


def _frozenset(machine: Machine) -> None:
    items = machine.pop_mark()
    checked_keys(items)
    machine.append(frozenset(items))


def _reduce(machine: Machine) -> None:
    args = _of_type(machine.stack.pop(), tuple)
    machine.stack[-1] = _of_type(machine.stack[-1], Named).make(machine, args)


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    value: Any = machine.stack[-1]
    if type(value) not in machine.unfinished:
        raise NotPlainError("a state where none belongs")
    value.set_state(state)


def _table() -> dict[int, Handler]:
    """Opcode -> what it does. One that is not listed, now or in a later protocol, is unknown."""
    plain = (
        "PROTO FRAME STOP POP POP_MARK DUP NONE NEWFALSE NEWTRUE BININT BININT1 BININT2 FLOAT BINFLOAT "
        "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE "
        "SHORT_BINUNICODE BINUNICODE8 EMPTY_TUPLE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL"
    )
    counted = (
        "MARK EMPTY_LIST EMPTY_DICT EMPTY_SET TUPLE TUPLE1 TUPLE2 TUPLE3 LIST BINPUT LONG_BINPUT MEMOIZE"
    )
    own: dict[str, Handler] = {
        "INT": _text_number, "LONG": _text_number, "LONG4": _long4, "BYTEARRAY8": _bytes8, "APPEND": _append,
        "APPENDS": _appends, "SETITEM": _set_item, "SETITEMS": _set_items, "ADDITEMS": _add_items,
        "BUILD": _build,
    }  # fmt: skip
    own_counted: dict[str, Handler] = {
        "PUT": _put, "DICT": _dict, "FROZENSET": _frozenset, "REDUCE": _reduce,
    }  # fmt: skip
    refused = {
        "PERSID": "an object outside of the file", "BINPERSID": "an object outside of the file",
        "EXT1": "a registered name", "EXT2": "a registered name", "EXT4": "a registered name",
        "INST": "an object of a class", "OBJ": "an object of a class", "NEWOBJ": "an object of a class",
        "NEWOBJ_EX": "an object of a class", "NEXT_BUFFER": "a buffer outside of the file",
        "READONLY_BUFFER": "a buffer",
    }  # fmt: skip
    handlers = {name: _STANDARD[_code(name)] for name in plain.split()}
    handlers |= {name: _counted(_STANDARD[_code(name)]) for name in counted.split()}
    handlers |= own | {name: _counted(handler) for name, handler in own_counted.items()}
    handlers |= {name: _refused(what) for name, what in refused.items()}
    handlers["LONG1"] = _STANDARD[_code("LONG1")]
    handlers |= {name: _whole(handlers[name]) for name in ("INT", "LONG", "LONG1", "LONG4")}
    return {_code(name): handler for name, handler in handlers.items()}


def _code(name: str) -> int:
    code: bytes = getattr(pickle, name)
    return code[0]


Machine.dispatch = _table()
