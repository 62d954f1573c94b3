"""Almost valid files: hypothesis changes bytes, members or values."""

import gzip
import io
import json
import struct
import zipfile
import zlib

from hypothesis import strategies as st

SIZES = (0, 1, 2, 4, 127, 255, 256, 65_535, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
NUMBERS = st.builds(
    lambda value, code: struct.pack(code, value % (1 << 8 * struct.calcsize(code))),
    st.sampled_from(SIZES),
    st.sampled_from(["<B", "<H", ">H", "<I", ">I", "<Q", ">Q"]),
)


def token_lists(*texts):
    return st.sampled_from([text if isinstance(text, bytes) else text.encode() for text in texts])


PICKLE = token_lists(
    *(bytes([code]) for code in b"(.012FGIJKLMNPQRSTUVXabcdeghijlopqrstu}])\x80\x81\x82\x83\x84\x85\x86\x87"),
    *(bytes([code]) for code in range(0x88, 0x99)),
    "cos\nsystem\n", "cnumpy\nndarray\n", "cnumpy\ndtype\n", "cnumpy.core.multiarray\n_reconstruct\n",
    "cnumpy.core.multiarray\nscalar\n", "cnumpy.core.numeric\n_frombuffer\n", "c_codecs\nencode\n",
    "c__builtin__\nset\n", "ccollections\nOrderedDict\n", "cbuiltins\ngetattr\n", "(K\x01K\x02t",
    "(I1\nI2\nl",
    "L9" + "9" * 50 + "L\n", "S'a'\n", "Va\n", "U\x02u1", b"\x8b\xff\xff\xff\x7f", b"r\xff\xff\xff\x7f",
    b")" + b"\x85" * 200, "(" * 200, "]" * 200, b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x95\xff\xff\xff\xff\xff\xff\xff\x00",
)  # fmt: skip
TEXT = token_lists(
    "\0", "\n", "\r", ",", " ", "\t", '"', "'", "\\", "/", "../", "/etc/passwd", "-1", "1e999", "9" * 30,
    "9" * 5000,
    "\ud800".encode("utf-8", "surrogatepass"), b"\xff", "\u202e", "\x1b[2J", "x" * 5000, "," * 200, "nan",
    "true",
    "[" * 3000, "{" * 300, "é", "\ufeff",
)  # fmt: skip
YAML = TEXT | token_lists(
    "&a ", "*a", "<<: *a\n", "!!python/object/apply:os.system ['true']", "!x ", "- ", ": ", "? ", "[*a, *a]",
    "| ",
    "1:2" + ":3" * 3000, "0x" + "f" * 3000, "2020-01-01", "~", "---\n", "%YAML 9.9\n",
)  # fmt: skip
BINARY = token_lists(
    b"\0" * 64, b"\xff" * 64, "PK\x01\x02", "IEND", "O", "|O", "descr", "(9" + "9" * 40 + ",)"
)

_places = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, 0.0001, 0.001, 0.999, 0.9999])
_lengths = st.integers(0, 64)


def edits(tokens):
    """A list of (kind, place in 0..1, length, bytes)."""
    kinds = st.sampled_from(["flip", "put", "insert", "delete", "repeat", "cut", "move"])
    return st.lists(st.tuples(kinds, _places, _lengths, tokens | NUMBERS | st.binary(max_size=8)), max_size=5)


def edited(content, changes):
    """The bytes after some edits."""
    for kind, place, length, new in changes:
        at = int(place * len(content)) if length % 3 else min(int(place * 400), len(content))
        if kind == "flip" and at < len(content):
            content = content[:at] + bytes([content[at] ^ (1 << length % 8)]) + content[at + 1 :]
        elif kind == "put":
            content = content[:at] + new + content[at + len(new) :]
        elif kind == "insert":
            content = content[:at] + new + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + length :]
        elif kind == "repeat":
            content = content[:at] + content[at : at + length] * 300 + content[at + length :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "move":
            content = content[:at] + content[-length - 1 :] + content[at:]
    return content


def in_gzip(content, changes):
    return gzip.compress(edited(gzip.decompress(content), changes), 1)


def in_zip(content, changes):
    """Edit one member, or the name of one."""
    buffer, which = io.BytesIO(), len(changes[0][3]) if changes else 0
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for number, info in enumerate(old.infolist()):
            member = old.read(info)
            if number == (which * 7 + sum(c[2] for c in changes)) % len(old.infolist()):
                if changes and changes[0][0] == "move":
                    new.writestr(f"../{info.filename}", member)
                member = edited(member, changes)
            new.writestr(info.filename, member)
    return buffer.getvalue()


def in_png(content, changes):
    """Edit the chunks of a PNG and give them right checksums."""
    out, at = content[:8], 8
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        if kind in (b"IHDR", b"PLTE", b"tRNS"):
            data = edited(data, changes)
        out += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        at += 12 + size
    return out


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["x" * 300, 10**40]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def in_json(content, changes, value):
    """Put a value somewhere into a JSON tree, or take something out of it."""
    tree = json.loads(content)
    for kind, place, length, _ in changes[:2]:
        node, steps = tree, length % 5
        while isinstance(node, dict | list) and node:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = keys[int(place * 997) % len(keys)]
            if steps == 0 or not isinstance(node[key], dict | list):
                if kind in ("delete", "cut"):
                    del node[key]
                else:
                    node[key] = json.loads(json.dumps(value))  # a copy: it may be put into itself
                break
            node, steps = node[key], steps - 1
    return json.dumps(tree).encode()
