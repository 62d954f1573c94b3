"""Golden values of LDAM-DRW's losses, and random logits with labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parents[2] / "golden" / "visible_core.npz"


@pytest.fixture(scope="session")
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}


@pytest.fixture(scope="session")
def make_batch():
    """Logits (B, N) float64 and labels int64 (B,); every class appears if B >= N."""

    def make(classes, batch=12, seed=0, spread=2.0):
        g = torch.Generator().manual_seed(seed)
        logits = spread * torch.randn(batch, classes, generator=g, dtype=torch.float64)
        return logits, torch.arange(batch)[torch.randperm(batch, generator=g)] % classes

    return make


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
