"""A part of some images, by position: pixels stay where they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from sla_bench.data.base import LabeledImages


@dataclass(frozen=True)
class Subset:
    """Chosen images.

    Args:
        images: all of them.
        index: int64 (n,), positions of those that are chosen.
    """

    images: LabeledImages
    index: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """int64 (n,)."""
        labels: np.ndarray = self.images.labels[self.index]
        return labels

    @property
    def counts(self) -> np.ndarray:
        """int64 (N,), images of each class."""
        return np.bincount(self.labels, minlength=self.images.num_classes)

    @property
    def checksum(self) -> str:
        """First 16 hex digits of the SHA-256 of the chosen positions."""
        return index_checksum(self.index)


def index_checksum(index: np.ndarray) -> str:
    """First 16 hex digits of the SHA-256 of positions (n,) as little-endian int64."""
    return hashlib.sha256(np.ascontiguousarray(index, dtype="<i8").tobytes()).hexdigest()[:16]
