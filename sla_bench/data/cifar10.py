"""CIFAR-10's files (Krizhevsky 2009), in their Python and their binary version."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sla_bench.data.array_files import load_dict
from sla_bench.data.cifar_files import (
    Batch,
    CifarVersion,
    PublishedFile,
    images_of_rows,
    read_records,
)
from sla_bench.data.download import RemoteArchive, RemoteFile
from sla_bench.data.sources import as_int_vector

CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_IMAGES = 10_000


def _read_pickle(path: Path) -> Batch:
    content = load_dict(path, "data", "labels")
    return Batch(images_of_rows(content["data"], path), as_int_vector(content["labels"], str(path)))


# MD5 as in torchvision.datasets.CIFAR10.
PYTHON = CifarVersion(
    folder="cifar-10-batches-py",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    algorithm="md5",
    files={
        "train": (
            PublishedFile("data_batch_1", "c99cafc152244af753f735de768cd75f", _IMAGES),
            PublishedFile("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec", _IMAGES),
            PublishedFile("data_batch_3", "54ebc095f3ab1f0389bbae665268c751", _IMAGES),
            PublishedFile("data_batch_4", "634d18415352ddfa80567beed471001a", _IMAGES),
            PublishedFile("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb", _IMAGES),
        ),
        "test": (PublishedFile("test_batch", "40351d587109b95175f43aff81a1287e", _IMAGES),),
    },
    read=_read_pickle,
    class_names=CLASS_NAMES,
)
# SHA-1 as in mxnet.gluon.data.vision.CIFAR10.
BINARY = CifarVersion(
    folder="cifar-10-batches-bin",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    algorithm="sha1",
    files={
        "train": (
            PublishedFile("data_batch_1.bin", "aadd24acce27caa71bf4b10992e9e7b2d74c2540", _IMAGES),
            PublishedFile("data_batch_2.bin", "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795", _IMAGES),
            PublishedFile("data_batch_3.bin", "1dd00a74ab1d17a6e7d73e185b69dbf31242f295", _IMAGES),
            PublishedFile("data_batch_4.bin", "aab85764eb3584312d3c7f65fd2fd016e36a258e", _IMAGES),
            PublishedFile("data_batch_5.bin", "26e2849e66a845b7f1e4614ae70f4889ae604628", _IMAGES),
        ),
        "test": (PublishedFile("test_batch.bin", "67eb016db431130d61cd03c7ad570b013799c88c", _IMAGES),),
    },
    read=partial(read_records, 1, _IMAGES),
    class_names=CLASS_NAMES,
)
# SHA-256 as in tensorflow.keras.datasets.cifar10.
ARCHIVE = RemoteArchive(
    RemoteFile(PYTHON.url, 170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
    PYTHON.folder,
    (*(file.name for part in PYTHON.files.values() for file in part), "batches.meta"),
)
