"""CIFAR-100's files (Krizhevsky 2009), in their Python and their binary version."""

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
from sla_bench.data.class_lists import cifar100_names
from sla_bench.data.download import RemoteArchive, RemoteFile
from sla_bench.data.sources import as_int_vector

_TRAIN, _TEST = 50_000, 10_000


def _read_pickle(path: Path) -> Batch:
    content = load_dict(path, "data", "fine_labels")
    return Batch(images_of_rows(content["data"], path), as_int_vector(content["fine_labels"], str(path)))


# MD5 as in torchvision.datasets.CIFAR100.
PYTHON = CifarVersion(
    folder="cifar-100-python",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    algorithm="md5",
    files={
        "train": (PublishedFile("train", "16019d7e3df5f24257cddd939b257f8d", _TRAIN),),
        "test": (PublishedFile("test", "f0ef6b0ae62326f3e7ffdfab6717acfc", _TEST),),
    },
    read=_read_pickle,
    class_names=cifar100_names().fine,
)
# SHA-1 as in mxnet.gluon.data.vision.CIFAR100.
BINARY = CifarVersion(
    folder="cifar-100-binary",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    algorithm="sha1",
    files={
        "train": (PublishedFile("train.bin", "e207cd2e05b73b1393c74c7f5e7bea451d63e08e", _TRAIN),),
        "test": (PublishedFile("test.bin", "8fb6623e830365ff53cf14adec797474f5478006", _TEST),),
    },
    read=partial(read_records, 2, _TRAIN),
    class_names=cifar100_names().fine,
)
# SHA-256 as in tensorflow.keras.datasets.cifar100.
ARCHIVE = RemoteArchive(
    RemoteFile(PYTHON.url, 169_001_437, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"),
    PYTHON.folder,
    ("train", "test", "meta"),
)
