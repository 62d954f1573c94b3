"""Golden episodes and episodes made of random features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parents[2] / "golden" / "visible_heads.npz"


@pytest.fixture(scope="session")
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="session")
def make_episodes():
    """Random clustered episodes: support, labels, query, float64; classes in mixed order."""

    def make(episodes=2, ways=5, shots=3, queries=7, features=12, seed=0, spread=0.8):
        g = torch.Generator().manual_seed(seed)
        order = torch.randperm(ways * shots, generator=g)
        labels = (torch.arange(ways * shots) % ways)[order].expand(episodes, -1).contiguous()
        centres = torch.randn(episodes, ways, features, generator=g, dtype=torch.float64)
        noise = torch.randn(episodes, ways * shots, features, generator=g, dtype=torch.float64)
        support = centres[:, labels[0]] + spread * noise
        query = torch.randn(episodes, queries, features, generator=g, dtype=torch.float64)
        return support, labels, query

    return make


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are faster on one thread, and much faster where others use the machine too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
