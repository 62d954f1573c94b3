"""Pieces by name, for other people's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sla_bench.registry import LEARNERS, TRANSFORMS

if TYPE_CHECKING:
    from torch import nn

    from sla_bench.transforms import Transform


def get_transform(name: str) -> Transform:
    """Return a label augmentation: `.num_views` M; `.views((B,C,H,W)) -> (B,M,C,H,W)`, view 0 the identity.

    Raises:
        UserError: unknown name.
    """
    transform: Transform = TRANSFORMS.load(name)
    return transform


def get_learner(name: str, **options: Any) -> nn.Module:
    """Return a few-shot head, `(support (E,S,D), support_labels (E,S), query (E,Q,D), ways) -> (E,Q,ways)`.

    Raises:
        UserError: unknown name, or a wrong option.
    """
    head: nn.Module = LEARNERS.load(name)(**options)
    return head
