"""Samples of an evaluation in small types, and reading such files from strangers."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from sla_bench.data.arrays import read_array
from sla_bench.evaluation.class_metrics import recorded
from sla_bench.records.archive import ZIP_ERRORS, is_plain

LARGEST_SAMPLES = 256 << 20
"""Bytes of one evaluation's arrays."""
_INTEGERS = (np.uint8, np.uint16, np.int16, np.int32)


def compact_samples(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays in small types.

    Integers keep their values, in the smallest type that holds them. Confidences and -log p, which older
    records hold as float32, become float16; tables read them so in any case.

    Args:
        samples: name -> array, as in samples.npz.
    """
    return {
        name: _small_integers(array) if array.dtype.kind in "iu" else recorded(array)
        for name, array in samples.items()
    }


def _small_integers(array: np.ndarray) -> np.ndarray:
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for kind in _INTEGERS:
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return array.astype(kind) if np.dtype(kind).itemsize < array.dtype.itemsize else array
    return array


def samples_bytes(samples: Mapping[str, np.ndarray]) -> bytes:
    """Return a samples.npz; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in samples.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    return buffer.getvalue()


def checked_samples(content: bytes) -> dict[str, np.ndarray]:
    """Read a samples.npz that may hold anything.

    Raises:
        ValueError: it is not an archive of plain numeric arrays, or these are larger than LARGEST_SAMPLES.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if not all(is_plain(info) for info in infos):
                raise ValueError("packed in an unusual way")
            if sum(info.file_size for info in infos) > LARGEST_SAMPLES:
                raise ValueError(f"arrays of more than {LARGEST_SAMPLES:,} bytes")
            return {info.filename.removesuffix(".npy"): _array(archive.read(info)) for info in infos}
    except ZIP_ERRORS as error:
        raise ValueError(f"samples.npz: damaged arrays ({error})") from None


def _array(content: bytes) -> np.ndarray:
    """The array of a .npy file, whose header is believed only after it was checked."""
    array = read_array(io.BytesIO(content), len(content))
    if array.dtype.kind not in "iuf":
        raise ValueError(f"an array of type {array.dtype}, not of numbers")
    return array
