import builtins
import copyreg
import importlib
import inspect
import os
import pickle
import struct
import time

import mutations
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sla_bench.data.pickles import _NAMES, _DType, load_pickle
from sla_bench.errors import UserError

MODULES = """
abc argparse array ast asyncio base64 bdb binascii builtins bz2 calendar cgi cmd code codecs codeop
collections compileall concurrent.futures configparser contextlib copy copyreg csv ctypes
dataclasses datetime decimal dis distutils.core email.message enum fileinput fnmatch fractions
ftplib functools gc getpass glob gzip hashlib heapq http.client http.server imaplib imp importlib
importlib.util inspect io itertools json linecache locale logging logging.config lzma mailbox
marshal mimetypes mmap multiprocessing multiprocessing.connection nntplib ntpath numbers numpy
numpy.lib.format numpy.lib.npyio operator os os.path pathlib pdb pickle pickletools pipes pkgutil
platform plistlib poplib posix pprint profile pstats pty py_compile pydoc queue quopri random re
readline reprlib resource rlcompleter runpy sched select selectors shelve shlex shutil signal site
smtplib socket socketserver sqlite3 ssl stat string struct subprocess symtable sys sysconfig tarfile
telnetlib tempfile termios textwrap threading time timeit tkinter token tokenize trace traceback
tracemalloc tty types typing unittest urllib.request uuid venv warnings weakref webbrowser
wsgiref.simple_server xml.dom.minidom xml.sax xmlrpc.client zipapp zipfile zipimport zlib
numpy.testing numpy.ma numpy.f2py torch.serialization yaml scipy.io pandas
"""

# Its name before NumPy 2.
CORE = np._core if hasattr(np, "_core") else np.core


def short(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


FORMS = {
    "global": lambda m, n: b"\x80\x02c" + f"{m}\n{n}\n".encode() + b")R.",
    "stack global": lambda m, n: b"\x80\x04" + short(m) + short(n) + b"\x93" + short("true") + b"\x85R.",
    "inst": lambda m, n: b"(S'true'\ni" + f"{m}\n{n}\n".encode() + b".",
    "obj": lambda m, n: b"(c" + f"{m}\n{n}\n".encode() + b"S'true'\no.",
    "newobj": lambda m, n: b"\x80\x02c" + f"{m}\n{n}\n".encode() + b")\x81.",
    "not called": lambda m, n: b"\x80\x02]c" + f"{m}\n{n}\n".encode() + b"a.",
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile") / "file.pickle"


def refuse(path, raw):
    path.write_bytes(raw)
    with pytest.raises(UserError) as caught:
        load_pickle(path)
    assert str(caught.value).isprintable()


def callables():
    for module in MODULES.split():
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        for name, value in inspect.getmembers(found):
            if callable(value) and name.isascii():
                yield module, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_callable_of_the_libraries_is_reached(scratch):
    names = sorted({pair for pair in callables() if pair not in _NAMES})
    assert len(names) > 3000
    forms = list(FORMS.values())
    for number, (module, name) in enumerate(names):
        refuse(scratch, forms[number % len(forms)](module, name))


class Call:
    """Pickles as a call of anything, perhaps with a state."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


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


PLAIN = (str, bytes, bool, int, float, complex, type(None), np.generic)


def check_plain(value, depth=0):
    assert depth < 30
    if isinstance(value, np.ndarray):
        assert type(value) is np.ndarray
        assert value.dtype.kind in "biufcSU"
    elif type(value) in (list, tuple, set, frozenset):
        for item in value:
            check_plain(item, depth + 1)
    elif type(value) is dict:
        for key, item in value.items():
            check_plain(key, depth + 1)
            check_plain(item, depth + 1)
    else:
        assert isinstance(value, (*PLAIN, _DType)) or value in _NAMES.values()


@settings(max_examples=200)
@given(st.lists(mutations.PICKLE | mutations.NUMBERS, max_size=40), st.booleans())
def test_any_opcodes_give_plain_values_or_an_error(scratch, opcodes, newer):
    scratch.write_bytes((b"\x80\x04" if newer else b"") + b"".join(opcodes) + b".")
    try:
        value = load_pickle(scratch)
    except UserError:
        return
    check_plain(value)


def long1(value):
    raw = value.to_bytes(12, "little", signed=True)
    return b"\x8a\x0c" + raw


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
DTYPE = b"cnumpy\ndtype\nU\x02u1\x85R"
BOMBS = {
    "a place in the memo": b"\x80\x02]r\xff\xff\xff\x0f" + b"0N" * 3 + b"a.",
    "a frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 3 << 30) + b".",
    "a bytearray": b"\x80\x05\x96" + struct.pack("<Q", 3 << 30) + b".",
    "a text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b".",
    "an old text": b"\x80\x02T\xff\xff\xff\x7fab.",
    "a whole number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a product of dimensions": b"\x80\x02" + ARRAY + b"(K\x01(" + long1(1 << 60) * 30
    + b"t" + DTYPE + b"\x89U\x01atb.",
    "bytes of one text": b"\x80\x02c_codecs\nencode\nq\x01X"
    + struct.pack("<I", 1 << 20)
    + b"a" * (1 << 20)
    + b"q\x02]("
    + b"h\x01h\x02\x85R" * 100_000
    + b"e.",
    "scalars of one text": b"\x80\x02cnumpy.core.multiarray\nscalar\nq\x01"
     b"cnumpy\ndtype\nU\x08S1000000\x85Rq\x03B"
    + struct.pack("<I", 1_000_000)
    + b"a" * 1_000_000
    + b"q\x02]("
    + b"h\x01h\x03h\x02\x86R" * 10_000
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


def test_a_registered_extension_is_not_reached(scratch):
    """The C unpickler gives what it has looked up once before, without asking `find_class`."""
    copyreg.add_extension("os", "system", 77)
    try:
        assert pickle.loads(b"\x80\x02\x82\x4d.") is os.system
        for code in (b"\x82\x4d", b"\x83\x4d\x00", b"\x84\x4d\x00\x00\x00"):
            refuse(scratch, b"\x80\x02" + code + b"X\x04\x00\x00\x00true\x85R.")
    finally:
        copyreg.remove_extension("os", "system", 77)
        copyreg.clear_extension_cache()


def test_a_buffer_that_is_written_to_after_it_became_an_array(scratch):
    raw = b"\x96" + struct.pack("<Q", 4) + b"abcd\x94"
    made = b"0cnumpy.core.numeric\n_frombuffer\n(h\x00" + DTYPE + b"K\x04\x85\x8c\x01CtR0"
    refuse(scratch, b"\x80\x05" + raw + made + b"h\x00(K\x01K\x02e.")


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="it is not a file"):
        load_pickle(tmp_path / "pipe")
