"""Crop and flip alone."""

from __future__ import annotations

import torch
from torch import Tensor

from sla_bench.mixing.base import Mix, Mixed, unmixed


class NoMix(Mix):
    """Leaves the batch as it is and draws no random number."""

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed:
        """The batch itself; see the base class."""
        del generator
        return unmixed(images, labels)
