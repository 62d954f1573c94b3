"""Base of the few-shot heads: checked input, precision, learnable scale."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from sla_bench.errors import NotFiniteError, UserError, positive


class FewShotHead(nn.Module, ABC):
    """A classifier that is fitted to the support embeddings of each episode.

    E episodes, S support points, Q queries, D features. All mathematics is in float32 or better, whatever
    the precision of the backbone; bf16 and fp16 embeddings are converted, and autocast is off inside.

    Args:
        scale: initial value of the learnable factor on all logits (MetaOptNet, Lee et al. 2019, section
            3.3); any finite number above 0.

    Raises:
        UserError: an option is out of range.
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(positive(type(self).__name__, "scale", scale)))

    @abstractmethod
    def scores(self, support: Tensor, one_hot: Tensor, query: Tensor) -> Tensor:
        """Logits before the scale, (E, Q, ways); `one_hot` is (E, S, ways) in the type of `support`."""

    def forward(self, support: Tensor, support_labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Fit on the support points and score the queries.

        Args:
            support: (E, S, D), floating.
            support_labels: int64 (E, S), values 0..ways-1, each class at least once per episode.
            query: (E, Q, D), floating.
            ways: number of classes.

        Returns:
            Logits (E, Q, ways), float32, or float64 if an input is float64.

        Raises:
            UserError: shapes or labels do not fit.
            NotFiniteError: an embedding is NaN or infinite.
        """
        check_shapes(support, support_labels, query, ways)
        # In training on a GPU the processor would wait; there the loop watches values that are not finite.
        reads_back = not self.training or query.device.type == "cpu"
        dtype = torch.promote_types(torch.promote_types(support.dtype, query.dtype), torch.float32)
        with torch.autocast(device_type=query.device.type, enabled=False):
            classes = torch.arange(ways, device=support_labels.device)
            member = support_labels.unsqueeze(2) == classes
            if reads_back:
                check_labels(support_labels, member, ways)
            try:
                scores = self.scores(support.to(dtype), member.to(dtype), query.to(dtype))
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
                raise self._not_finite(support, query) from None
            logits = scores * self.scale.to(dtype)
        if reads_back and not bool(torch.isfinite(logits.detach()).all()):
            raise self._not_finite(support, query)
        return logits

    def _not_finite(self, support: Tensor, query: Tensor) -> NotFiniteError:
        """Name the input that made the logits NaN or infinite."""
        for name, points in (("support", support), ("query", query)):
            if not bool(torch.isfinite(points).all()):
                return NotFiniteError(f"{type(self).__name__}: {name} embeddings are not finite")
        return NotFiniteError(
            f"{type(self).__name__}: logits are not finite though all embeddings are; the embeddings reach "
            f"{float(torch.maximum(support.abs().max(), query.abs().max())):.1e} and the scale is "
            f"{float(self.scale):.1e}: normalise the embeddings or lower the learning rate"
        )


def check_shapes(support: Tensor, labels: Tensor, query: Tensor, ways: int) -> None:
    """Refuse tensors that are not a batch of episodes, as `FewShotHead.forward` describes it.

    Raises:
        UserError: shapes or types do not fit each other.
    """
    if support.ndim != 3 or query.ndim != 3 or labels.shape != support.shape[:2]:
        raise UserError(
            f"a head takes support (E, S, D), labels (E, S) and query (E, Q, D); got {tuple(support.shape)}, "
            f"{tuple(labels.shape)} and {tuple(query.shape)}"
        )
    if query.shape[0] != support.shape[0] or query.shape[2] != support.shape[2]:
        raise UserError(
            f"support {tuple(support.shape)} and query {tuple(query.shape)} differ in episodes or features"
        )
    if not support.is_floating_point() or not query.is_floating_point() or labels.dtype != torch.int64:
        raise UserError(
            f"embeddings must be floating and labels int64; got {support.dtype}, {query.dtype} "
            f"and {labels.dtype}"
        )
    if ways < 1:
        raise UserError(f"ways must be at least 1, got {ways}")


def check_labels(labels: Tensor, member: Tensor, ways: int) -> None:
    """Refuse labels (E, S) with a value out of 0..ways-1 or a class without support.

    Args:
        labels: as given.
        member: bool (E, S, ways), their equality with each class.
        ways: number of classes.

    Raises:
        UserError: says which.
    """
    if not bool(member.any(2).all()):
        raise UserError(f"support labels must be 0..{ways - 1}, got {int(labels.min())}..{int(labels.max())}")
    present = member.any(1)
    if not bool(present.all()):
        episode, label = (int(i) for i in torch.nonzero(~present)[0])
        raise UserError(f"episode {episode} has no support point of class {label} (of {ways} ways)")
