"""Other libraries for comparisons: missing ones skip tests, except in tox."""

import importlib
import os
from types import ModuleType

import pytest


def peer(name: str) -> ModuleType:
    """The module; its absence is a failure in `tox -e learn2learn`, which is there to run these tests."""
    if os.environ.get("SLA_BENCH_NO_PEER_SKIPS"):
        return importlib.import_module(name)
    return pytest.importorskip(name)
