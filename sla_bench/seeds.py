"""Seeds as hashes of their purpose, independent of the order of execution."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager


def derive_seed(*parts: object) -> int:
    """Return a seed in 0..2^63 - 1 that depends on all parts and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Inside, PyTorch's global generator starts from `seed`; outside it is as if nothing had happened.

    For code of libraries that takes no generator, such as the default initialisation of layers.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
