"""Flips that alternate: each image is mirrored every other time."""

from __future__ import annotations

import torch
from torch import Tensor


class AlternatingFlips:
    """Mirrors each image every other time that it is drawn.

    In a pass over all images half of them are mirrored, in the next pass the others, as in airbench94
    (Jordan 2024, arXiv 2404.00498).

    Args:
        count: N, how many images there are.
        generator: draws which images are mirrored the first time.
    """

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._mirrored = torch.rand(count, generator=generator) < 0.5

    def __call__(self, index: Tensor) -> Tensor:
        """Say it of the next batch.

        Args:
            index: int64 (B,), positions of its images, on the CPU; an image that comes twice alternates
                within the batch.

        Returns:
            bool (B,).
        """
        ordered, places = index.sort(stable=True)
        new = torch.ones_like(ordered, dtype=torch.bool)
        new[1:] = ordered[1:] != ordered[:-1]
        numbers = torch.arange(len(index))
        # How often the image came before in this batch.
        rank = numbers - numbers[new][new.cumsum(0) - 1]
        flips = torch.empty_like(new)
        flips[places] = self._mirrored[ordered] ^ (rank % 2).bool()
        # Of equal positions the last one stands at the end of its run.
        last = torch.cat([new[1:], torch.ones_like(new[:1])])
        self._mirrored[ordered[last]] = ~flips[places[last]]
        return flips

    def state(self) -> Tensor:
        """Which images are mirrored next, bool (N,)."""
        return self._mirrored

    def load_state(self, state: Tensor) -> None:
        """Restore a state, bool (N,)."""
        self._mirrored = state
