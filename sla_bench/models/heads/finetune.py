"""Logistic regression on the embeddings of the support."""

from __future__ import annotations

from torch import Tensor

from sla_bench.errors import positive
from sla_bench.models.heads.fitted import FittedHead, solve_multinomial


class LogisticHead(FittedHead):
    """Multinomial logistic regression on embeddings of length 1, solved to the end (Tian et al. 2020).

    It minimises `1/2 sum_c |w_c|^2 + C sum_i CE(w x_i + b, y_i)` with biases b that are not penalised: what
    scikit-learn's LogisticRegression minimises, and arXiv 2003.11539 fits. Baseline of Chen et al. 2019 fits
    a linear layer of the same form by 100 epochs of SGD, without normalising the embeddings.

    Args:
        C: weight of the cross entropy, above 0. It is not rescaled with the number of ways.
    """

    def __init__(self, *, C: float = 1.0) -> None:
        super().__init__()
        self.C = positive("LogisticHead", "C", C)

    def fit(self, kernel: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (E, S, W) and biases (E, 1, W) of logistic regression."""
        return solve_multinomial(kernel, targets.double(), self.C)
