"""Samplers of training images: uniform, or small classes more often."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from sla_bench.errors import UserError, unknown
from sla_bench.training.long_tail import checked_labels

# A class is drawn with probability proportional to a power of its size.
_POWERS = {"class-balanced": 0.0, "sqrt": 0.5}
SAMPLERS = ("uniform", *_POWERS)


class SamplerState(TypedDict):
    """Where a stream stands: tensors and plain types, for a checkpoint.

    generator: state of the random generator, uint8 (n,). position: images drawn from the present order, or 0
    where there are no orders.
    """

    generator: Tensor
    position: int


class ClassSampler:
    """An endless stream of positions of training images, cut into full batches.

    - "uniform": one random order of all images after the other. A batch may run over the end of an order, so
      that every image is drawn exactly once in each n draws and no batch is smaller than the others.
    - "class-balanced": all classes have the same probability; images are drawn from a class with replacement.
    - "sqrt": the probability of a class is proportional to the square root of its size, images as before.

    The stream depends on labels, kind and seed alone, not on the batch size. An epoch is n draws of any kind.

    Args:
        labels: integers (n,), tensor or array; the class of each image, 0..N-1, each at least once.
        kind: "uniform", "class-balanced" or "sqrt".
        batch_size: B, at least 1; it may exceed n.
        seed: of the sampler's own generator.

    Raises:
        UserError: unknown kind, a batch size below 1, or labels that are not 0..N-1.
    """

    def __init__(
        self, labels: Tensor | np.ndarray, kind: str = "uniform", batch_size: int = 128, seed: int = 0
    ) -> None:
        if kind not in SAMPLERS:
            raise unknown("sampler", kind, SAMPLERS)
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        array = labels.cpu().numpy() if isinstance(labels, Tensor) else labels
        labels = torch.from_numpy(checked_labels(array))
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)
        self._stream = _Shuffles(len(labels)) if kind == "uniform" else _ByClass(labels, _POWERS[kind])

    def next(self) -> Tensor:
        """Positions of the next batch, int64 (B,), on the CPU."""
        return self._stream.draw(self.batch_size, self.generator)

    def state(self) -> SamplerState:
        """Where the stream stands now."""
        return self._stream.state(self.generator)

    def load_state(self, state: SamplerState) -> None:
        """Restore a state of a sampler of the same labels and kind."""
        self._stream.load_state(state, self.generator)


class _Shuffles:
    """Random orders of n images, one after the other."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0
        self._before: Tensor | None = None

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        parts = []
        while count:
            if self._position == len(self._order):
                self._shuffle(generator)
            parts.append(self._order[self._position : self._position + count])
            self._position += len(parts[-1])
            count -= len(parts[-1])
        return torch.cat(parts)

    def state(self, generator: torch.Generator) -> SamplerState:
        # The order is drawn again from the generator's state before it: far smaller than the order.
        before = generator.get_state() if self._before is None else self._before
        return {"generator": before.clone(), "position": self._position}

    def load_state(self, state: SamplerState, generator: torch.Generator) -> None:
        generator.set_state(state["generator"])
        self._shuffle(generator)
        self._position = state["position"]

    def _shuffle(self, generator: torch.Generator) -> None:
        self._before = generator.get_state()
        self._order = torch.randperm(self.size, generator=generator)
        self._position = 0


class _ByClass:
    """A class with probability proportional to n_c^power, then any of its images."""

    def __init__(self, labels: Tensor, power: float) -> None:
        self._sizes = labels.bincount()
        self._images = labels.argsort(stable=True)
        self._first = self._sizes.cumsum(0) - self._sizes
        probability = self._sizes.double() ** power
        self._cumulative = (probability / probability.sum()).cumsum(0)
        # Rounding must leave no draw above the last class.
        self._cumulative[-1] = 1.0

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        # One row serves one image, so that the size of a batch makes no difference to the stream.
        which_class, which_image = torch.rand(count, 2, generator=generator, dtype=torch.float64).unbind(1)
        classes = torch.searchsorted(self._cumulative, which_class.contiguous(), right=True)
        within = (which_image * self._sizes[classes]).long()
        return self._images[self._first[classes] + within]

    def state(self, generator: torch.Generator) -> SamplerState:
        return {"generator": generator.get_state(), "position": 0}

    def load_state(self, state: SamplerState, generator: torch.Generator) -> None:
        generator.set_state(state["generator"])
