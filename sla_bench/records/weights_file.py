"""The weights file of a recorded training, or an error without it."""

from __future__ import annotations

from pathlib import Path

from sla_bench.errors import UserError

WEIGHTS = "model.safetensors"


def kept_weights(folder: Path) -> Path:
    """Return the file of weights below the folder of a run.

    Raises:
        UserError: there is none.
    """
    path = folder / WEIGHTS
    if not path.exists():
        raise UserError(
            f"run {folder.name} has no {WEIGHTS}: it was recorded with --keep-models none or imported; "
            f"delete {folder} to train it again, with --keep-models all"
        )
    return path
