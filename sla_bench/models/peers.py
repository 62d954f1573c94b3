"""learn2learn, an optional library: imported on first use."""

from __future__ import annotations

import contextlib
import importlib
import io
from types import ModuleType

from sla_bench.errors import UserError

RECIPE = (
    "pip install cython setuptools wheel && "
    "pip install --no-build-isolation --no-deps --use-pep517 --config-settings=--global-option=build_ext "
    "learn2learn==0.2.0 && "
    "pip install numpy scipy requests tqdm gym"
)
"""Three commands, in this order; a plain `pip install learn2learn` fails on Python 3.11 and later."""


def learn2learn() -> ModuleType:
    """Import learn2learn, with its submodules `algorithms`, `data`, `nn` and `vision`.

    Raises:
        UserError: learn2learn or a library behind it is not installed; the message has the commands.
    """
    try:
        # Its import prints a notice to the users of gym, which are not ours.
        with contextlib.redirect_stderr(io.StringIO()):
            return importlib.import_module("learn2learn")
    except ImportError as error:
        raise UserError(f"this needs learn2learn ({error}); install it with: {RECIPE}") from None
