"""Pieces by name, for other people's code."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from sla_bench.errors import UserError, nearest
from sla_bench.registry import LEARNERS, LOSSES, TRANSFORMS

if TYPE_CHECKING:
    from torch import nn

    from sla_bench.models.losses.base import Counts, Criterion
    from sla_bench.views.transforms import Transform


def get_transform(name: str) -> Transform:
    """Return a transform: `.num_views` M; `.views((B,C,H,W)) -> (B,M,C,H,W)`, view 0 the identity.

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
    _check_options(LEARNERS[LEARNERS.check(name)].options, options, f"learner {name!r}")
    head: nn.Module = LEARNERS.load(name)(**options)
    return head


def get_loss(name: str, class_counts: Counts, **options: Any) -> Criterion:
    """Return a criterion, `(logits (B,N), labels int64 (B,)) -> scalar`.

    Predictions read `.scores(logits (..., N))`, `.head(D)` is the matching classifier, and
    `.reweight(epoch / epochs)` belongs at the start of each epoch where the loss has a schedule.

    Args:
        name: `ce`, `cb-rw`, `ce-drw`, `focal`, `cb-focal`, `ldam`, `ldam-drw`, `balanced-softmax` or
            `logit-adjust`; see docs/models.md.
        class_counts: training images per class, integers (N,), each at least 1. For joint labels of N
            classes and M views, the counts of the classes, each repeated M times.
        options: of the loss, by the names in the registry.

    Raises:
        UserError: unknown name, a class without an image, or a wrong option.
    """
    _check_options(LOSSES[LOSSES.check(name)].options, options, f"loss {name!r}")
    criterion: Criterion = LOSSES.load(name)(class_counts, **options)
    return criterion


def _check_options(taken: Collection[str], options: Iterable[str], owner: str) -> None:
    for option in options:
        if option not in taken:
            known = nearest(option, list(taken)) if taken else "it has none"
            raise UserError(f"{option!r} is not an option of {owner}; {known}")
