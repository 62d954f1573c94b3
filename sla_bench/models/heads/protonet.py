"""Prototypical networks."""

from __future__ import annotations

from torch import Tensor

from sla_bench.models.heads.base import FewShotHead


class ProtoNet(FewShotHead):
    """Each class is the mean p of its support embeddings (Snell et al. 2017).

    The logit is `-||q - p||^2 / D` times the learnable scale: MetaOptNet's form. The paper of Snell et al.
    has `-||q - p||^2`, and other code `-||q - p||`.
    """

    def scores(self, support: Tensor, one_hot: Tensor, query: Tensor) -> Tensor:
        """Negative squared distances over D, before the scale, (E, Q, ways)."""
        weights = one_hot / one_hot.sum(1, keepdim=True)
        prototypes = weights.transpose(1, 2) @ support
        # Distances do not change when all points move; about their centre the expanded square cancels less.
        centre = prototypes.detach().mean(1, keepdim=True)
        prototypes, query = prototypes - centre, query - centre
        cross = query @ prototypes.transpose(1, 2)
        squares = query.square().sum(2, keepdim=True) + prototypes.square().sum(2).unsqueeze(1)
        return (2 * cross - squares) / query.shape[2]
