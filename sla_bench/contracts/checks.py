"""Checks of a piece, and their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from sla_bench.errors import UserError
from sla_bench.seeds import torch_seeded

TOLERANCE = 1e-6
"""Of values in double precision, relative to the largest."""


class Note(str):
    """A remark that is not a failure."""

    __slots__ = ()


Check = Callable[[], str | None]
"""Returns the problem, a `Note`, or None where all is well."""
Checks = Mapping[str, Check]
"""Sentence that has to hold -> its check; the first check is needed by the others."""


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

    Args:
        sentence: that has to hold.
        detail: the problem or the remark; None: all is well.
    """

    sentence: str
    detail: str | None

    @property
    def state(self) -> Literal["holds", "note", "FAILS"]:
        """One word."""
        if self.detail is None:
            return "holds"
        return "note" if isinstance(self.detail, Note) else "FAILS"

    def __str__(self) -> str:
        return f"{self.state}  {self.sentence}{'' if self.detail is None else f': {self.detail}'}"


def findings(checks: Checks) -> Iterator[Finding]:
    """Run checks in order, each from the same seed; a first check that fails is the last."""
    for number, (sentence, check) in enumerate(checks.items()):
        found = Finding(sentence, _outcome(check))
        yield found
        if not number and found.state == "FAILS":
            return


def _outcome(check: Check) -> str | None:
    try:
        with torch_seeded(0):
            return check()
    except UserError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - the piece is somebody else's code
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


def first_problem(*problems: str | None) -> str | None:
    """The first that is not None."""
    return next((problem for problem in problems if problem is not None), None)


def shape_problem(value: Tensor, shape: tuple[int, ...], what: str) -> str | None:
    """Say that a tensor has another shape, or values that are not finite."""
    if not isinstance(value, Tensor):
        return f"{what} must be a tensor, got {type(value).__name__}"
    if tuple(value.shape) != shape:
        return f"{what} must be {shape}, got {tuple(value.shape)}"
    return None if bool(torch.isfinite(value.detach()).all()) else f"{what} are not finite"


def difference(value: Tensor, reference: Tensor, what: str, tolerance: float = TOLERANCE) -> str | None:
    """Say by how much two tensors differ, if by more than the tolerance, relative to the largest value."""
    if value.shape != reference.shape:
        return f"{what} have shape {tuple(value.shape)} instead of {tuple(reference.shape)}"
    value, reference = value.detach().double(), reference.detach().double()
    by, most = float((value - reference).abs().max()), float(reference.abs().max())
    # A NaN is no close value.
    return None if by <= tolerance * max(most, 1.0) else f"{what} differ by {by:.2g} of {most:.2g}"


def gradient_problem(loss: Tensor, module: nn.Module, what: str) -> str | None:
    """Say which parameter gets a gradient that is missing, not finite, or zero."""
    if not loss.requires_grad:
        return f"no gradient reaches {what}"
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    for name, gradient in zip(names, gradients, strict=True):
        if gradient is None or not bool(gradient.any()):
            return f"no gradient reaches {name} of {what}"
        if not bool(torch.isfinite(gradient).all()):
            return f"the gradient of {name} of {what} is not finite"
    return None
