"""Heads fitted on supports: their base, and batched logistic regression."""

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


TOLERANCE = 1e-6
"""Largest error of a probability in the conditions for optimality."""

MOST_ITERATIONS = 5000


def solve_multinomial(kernel: Tensor, targets: Tensor, C: float) -> tuple[Tensor, Tensor]:
    """Minimise `1/2 tr(A' K A) + C sum_i CE((K A + b)_i, y_i)` over A and b, for each episode.

    The Hessian of the cross entropy is at most half the identity (Boehning 1992, "Multinomial logistic
    regression algorithm"), which gives a step by one fixed matrix per episode that never increases the
    objective. Nesterov's extrapolation, begun again where it leads uphill (O'Donoghue and Candes 2015), makes
    it quick. An episode stops by itself, so its result does not depend on the others.

    Args:
        kernel: float64 (E, S, S), of the points.
        targets: float64 (E, S, W), one-hot.
        C: weight of the cross entropy, above 0.

    Returns:
        A (E, S, W), the coefficients of the points in the weights, and b (E, 1, W).

    Raises:
        UserError: it does not converge, for C far too large.
    """
    to_coefficients, to_scores = _steps(kernel, C)
    coefficients = before = torch.zeros_like(targets)
    # The scores K A + b, so that b itself is not needed on the way.
    scores = scores_before = torch.zeros_like(targets)
    age = torch.zeros(len(kernel), 1, 1, dtype=kernel.dtype, device=kernel.device)
    for _ in range(MOST_ITERATIONS):
        momentum = age / (age + 3)
        ahead = torch.lerp(before, coefficients, 1 + momentum)
        scores_ahead = torch.lerp(scores_before, scores, 1 + momentum)
        slope = C * (scores_ahead.softmax(2) - targets) + ahead
        going = slope.abs().amax((1, 2), keepdim=True) > TOLERANCE * C
        if not bool(going.any()):
            return ahead, (scores_ahead - kernel @ ahead).mean(1, keepdim=True)
        # Where an episode has ended, both points are the last one, which so stays where it is.
        before = torch.where(going, coefficients, ahead)
        scores_before = torch.where(going, scores, scores_ahead)
        coefficients = torch.where(going, ahead - to_coefficients @ slope, ahead)
        scores = torch.where(going, scores_ahead - to_scores @ slope, scores_ahead)
        uphill = (slope * (scores - scores_before)).sum((1, 2), keepdim=True) > 0
        age = torch.where(uphill, 0.0, age + 1)
    raise UserError(
        f"LogisticHead: logistic regression does not converge in {MOST_ITERATIONS} iterations with C {C:g}; "
        "take a smaller C"
    )


def _steps(kernel: Tensor, C: float) -> tuple[Tensor, Tensor]:
    """Matrices (E, S, S) from the slope C (P - Y) + A to the step of A, and to that of the scores.

    A step (B, beta) solves `(C/2 K + I) B + C/2 1 beta = slope` with columns of B that sum to zero: the
    first rows are the condition for the weights, the sums that for the biases.
    """
    identity = torch.eye(kernel.shape[1], dtype=kernel.dtype, device=kernel.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(C / 2 * kernel + identity))
    ones = inverse.sum(2, keepdim=True)
    share = ones.transpose(1, 2) / ones.sum(1, keepdim=True)
    to_coefficients = inverse - ones * share
    return to_coefficients, kernel @ to_coefficients + 2 / C * share
