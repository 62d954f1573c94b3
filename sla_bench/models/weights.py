"""Weights of trained models as safetensors files with notes on origin."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sla_bench.errors import UserError

MADE_BY = "sla-bench"
FORMAT = "1"
"""Rises when tensors get other names or meanings. Files without a note are of the first format."""
_NOTE = "format"
_NAME = re.compile(r"members\.\d{1,4}\..+")


def weights_bytes(state: Mapping[str, Tensor]) -> bytes:
    """The content of a file of weights.

    Args:
        state: as `Training.state`.
    """
    tensors = {name: value.contiguous() for name, value in state.items()}
    # One note: safetensors writes several in random order, and the same weights are to be the same bytes.
    return save(tensors, {_NOTE: f"{MADE_BY} {FORMAT}"})


def noted(content: bytes, notes: Mapping[str, str]) -> bytes:
    """A file of weights with more notes, in the order of their names.

    Args:
        content: as `weights_bytes`.
        notes: name -> text.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted({**header["__metadata__"], **notes}.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


def notes_of(path: Path) -> dict[str, str]:
    """The notes of a file that `read_weights` has read."""
    with safe_open(path, "pt") as opened:
        return dict(opened.metadata() or {})


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of weights.

    Raises:
        UserError: damaged, no safetensors file, of another program or of a later format; it says which.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
        if start in (b"PK", b"\x80\x02"):
            raise UserError(f"{path} is a file of torch.save, which can hold code; only safetensors are read")
        with safe_open(path, "pt") as opened:
            _check_maker(path, opened.metadata() or {})
            names = list(opened.keys())
            foreign = next((name for name in names if not _NAME.fullmatch(name)), None)
            if foreign is not None or not names:
                found = "it is empty" if foreign is None else f"a tensor is named {foreign[:80]!r}"
                raise UserError(f"{path} holds no weights of a run of {MADE_BY}: {found}")
            return {name: opened.get_tensor(name) for name in names}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (SafetensorError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
        raise UserError(f"{path} is damaged or not a safetensors file ({error})") from None


def _check_maker(path: Path, notes: Mapping[str, str]) -> None:
    if not notes:
        return
    maker, _, form = notes.get(_NOTE, "").partition(" ")
    if maker != MADE_BY:
        raise UserError(f"{path} was made by another program than {MADE_BY} (its notes: {str(notes)[:80]})")
    if form != FORMAT:
        raise UserError(f"{path} is of format {form!r:.20}, this version reads {FORMAT}")


def put_weights(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a model its weights.

    Raises:
        UserError: weights of another model: a tensor is missing, unknown, or of another shape or kind.
    """
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in state:
            raise UserError(f"weights of another model: {name} is missing")
        if state[name].shape != tensor.shape:
            shapes = f"{tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
            raise UserError(f"weights of another model: {name} has the shape {shapes}")
        if state[name].is_floating_point() != tensor.is_floating_point():
            raise UserError(f"weights of another model: {name} has the type {state[name].dtype}")
    extra = next((name for name in state if name not in own), None)
    if extra is not None:
        raise UserError(f"weights of another model: it has no {extra[:80]}")
    model.load_state_dict(state)
