"""Linear multi-class SVM, solved per episode."""

from __future__ import annotations

from torch import Tensor

from sla_bench.errors import positive
from sla_bench.models.heads.base import FewShotHead
from sla_bench.models.svm_solver.crammer_singer import solve_crammer_singer
from sla_bench.models.svm_solver.linear_dual import dual_weights


class SVMHead(FewShotHead):
    """MetaOptNet-SVM: the Crammer-Singer SVM without bias, fitted on each episode (Lee et al. 2019).

    The dual is solved exactly, in training and at test, in double precision for embeddings of any
    (MetaOptNet stops after 15 interior-point iterations in training and 3 at test); gradients are those of
    the exact solution. See `solve_crammer_singer` for the problem, the method and the rule for ties.

    Args:
        C: upper bound of the dual variables; above 0. It is not rescaled with the number of ways.
        regularization: added to the diagonal of the kernel; above 0.
        scale: see `FewShotHead`.

    Attributes:
        last_residual: largest relative KKT residual of the latest call, None before the first; not part of
            the state.
    """

    def __init__(self, *, C: float = 0.1, regularization: float = 1.0, scale: float = 1.0) -> None:
        super().__init__(scale=scale)
        self.C = positive("SVMHead", "C", C)
        self.regularization = positive("SVMHead", "regularization", regularization)
        self.last_residual: float | None = None

    def scores(self, support: Tensor, one_hot: Tensor, query: Tensor) -> Tensor:
        """Scores of the SVM of each episode, before the scale, (E, Q, ways)."""

        def dual(kernel: Tensor, targets: Tensor) -> Tensor:
            solution = solve_crammer_singer(kernel, targets, C=self.C, regularization=self.regularization)
            self.last_residual = float(solution.residual.max())
            return solution.alpha

        return query @ dual_weights(support, one_hot.double(), dual).transpose(1, 2)
