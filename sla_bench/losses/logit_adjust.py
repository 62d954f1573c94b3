"""Post-hoc logit adjustment."""

from __future__ import annotations

from torch import Tensor

from sla_bench.checks import positive
from sla_bench.losses.ce import CrossEntropy
from sla_bench.losses.counts import Counts, checked_counts


class LogitAdjustment(CrossEntropy):
    """Trained by cross entropy, read as f - tau log(n_y / n) (Menon et al., ICLR 2021, arXiv 2007.07314).

    n is the number of training images, n_y those of the class.

    Args:
        class_counts: see `Criterion`.
        tau: above 0; 1 is right for calibrated probabilities.
    """

    log_prior: Tensor

    def __init__(self, class_counts: Counts, *, tau: float = 1.0) -> None:
        super().__init__(class_counts)
        self.tau = positive("logit adjustment", "tau", tau)
        counts = checked_counts(class_counts)
        self.register_buffer("log_prior", (counts / counts.sum()).log().float(), persistent=False)

    def scores(self, logits: Tensor) -> Tensor:
        """F - tau log(n_y / n); see `Criterion.scores`."""
        return logits - self.tau * self.log_prior.to(logits.dtype)
