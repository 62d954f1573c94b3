"""Pictures of 16 and 32 bits, after the PNG and TIFF specifications."""

# Pillow writes grey pictures only.

import struct
import zlib


def deep_png(values):
    """A PNG of 16 bits of values (H, W, C)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_tiff(values, order="<", packed=False, signed=False):
    """A TIFF of one strip of values (H, W, C), with as many bits as the array has."""
    height, width, channels = values.shape
    bits, start = 8 * values.dtype.itemsize, 8 + 2 + 12 * 11 + 4
    content = values.astype(values.dtype.newbyteorder(order)).tobytes()
    content = zlib.compress(content) if packed else content
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits if channels == 1 else start),
        (259, 3, 1, 8 if packed else 1),
        (262, 3, 1, 1 if channels == 1 else 2),
        (273, 4, 1, start + 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(content)),
        (284, 3, 1, 1),
        (339, 3, 1, 2 if signed else 1),
    ]

    def value(kind, count, number):
        short = kind == 3 and count == 1
        return struct.pack(f"{order}HH", number, 0) if short else struct.pack(f"{order}I", number)

    directory = b"".join(struct.pack(f"{order}HHI", t, k, c) + value(k, c, n) for t, k, c, n in entries)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    tail = struct.pack(f"{order}4H", bits, bits, bits, 0)
    return head + struct.pack(f"{order}H", len(entries)) + directory + b"\0\0\0\0" + tail + content
