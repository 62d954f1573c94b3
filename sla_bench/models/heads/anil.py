"""ANIL: the inner loop of MAML on the last layer alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sla_bench.models.heads.base import FewShotHead
from sla_bench.models.heads.inner_loop import InnerLoop


class ANIL(FewShotHead):
    """Gradient steps on a linear classifier of the embeddings (Raghu et al. 2020, arXiv 1909.09157).

    The classifier starts at zero, for any number of ways; its loss is the mean cross entropy of the supports.
    A learned start that treats all classes alike would be one vector for all of them, and the same vector in
    every column of the logits changes no softmax: it is zero that is left (docs/models.md).

    Args:
        inner_steps: gradient steps in training, from 0.
        inner_rate: their rate, above 0; it is not rescaled with the number of ways.
        first_order: gradients of the embeddings do not go through the inner gradients, so that they come
            from the queries alone.
        test_inner_steps: steps at test; None means `inner_steps`.
        scale: see `FewShotHead`.

    Raises:
        UserError: an option is out of range, or learn2learn is not installed.
    """

    def __init__(
        self,
        *,
        inner_steps: int = 5,
        inner_rate: float = 0.05,
        first_order: bool = False,
        test_inner_steps: int | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__(scale=scale)
        self.inner_loop = InnerLoop("ANIL", inner_steps, inner_rate, first_order, test_inner_steps)

    def scores(self, support: Tensor, one_hot: Tensor, query: Tensor) -> Tensor:
        """Logits of the adapted classifiers before the scale, (E, Q, ways)."""
        episodes, _, ways = one_hot.shape
        start = _Classifiers(episodes, ways, support.shape[2], like=support)

        def loss(classifiers: _Classifiers) -> Tensor:
            likelihood = (one_hot * classifiers(support).log_softmax(2)).sum(2)
            # A sum over episodes: each classifier's gradient comes from its own episode.
            loss: Tensor = -likelihood.mean(1).sum()
            return loss

        adapted: _Classifiers = self.inner_loop.adapt(start, loss, self.training)
        logits: Tensor = adapted(query)
        return logits


class _Classifiers(nn.Module):
    """A linear classifier per episode: (E, B, D) -> (E, B, ways)."""

    def __init__(self, episodes: int, ways: int, features: int, like: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(like.new_zeros(episodes, ways, features))
        self.bias = nn.Parameter(like.new_zeros(episodes, 1, ways))

    def forward(self, embeddings: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, embeddings, self.weight.transpose(1, 2))
