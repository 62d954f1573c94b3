"""Heads fitted on the support without a gradient with respect to it."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.models.heads.base import FewShotHead


class FittedHead(FewShotHead):
    """A linear classifier of embeddings of length 1, fitted by way of their kernel, for frozen backbones.

    Args:
        scale: see `FewShotHead`.
    """

    @abstractmethod
    def fit(self, kernel: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Fit on kernels (E, S, S), float64, and one-hot labels (E, S, W) in the type of the embeddings.

        Returns:
            Coefficients (E, S, W) of the support points in the weights of each class, and biases (E, 1, W).
        """

    def scores(self, support: Tensor, one_hot: Tensor, query: Tensor) -> Tensor:
        """Logits of the fitted classifiers before the scale, (E, Q, ways).

        Raises:
            UserError: the support embeddings require a gradient, which this head can't give.
        """
        if torch.is_grad_enabled() and support.requires_grad:
            raise UserError(
                f"{type(self).__name__} is fitted on embeddings of a frozen backbone and gives no gradient "
                "with respect to the support: detach the embeddings, or take another learner"
            )
        with torch.no_grad():
            support = F.normalize(support, dim=2)
            points = support.double()
            coefficients, biases = self.fit(points @ points.transpose(1, 2), one_hot)
            weights = (coefficients.transpose(1, 2).double() @ points).to(query.dtype)
        return F.normalize(query, dim=2) @ weights.transpose(1, 2) + biases.to(query.dtype)
