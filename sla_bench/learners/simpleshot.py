"""SimpleShot."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from sla_bench.learners.protonet import ProtoNet


class SimpleShot(ProtoNet):
    """Nearest class mean of embeddings of length 1 (Wang et al. 2019, arXiv 1911.04623, CL2N).

    The mean of a class is taken after its embeddings are normalised, and not normalised again. The first of
    the paper's two steps, centring, is the caller's: the mean embedding of images of the base classes is
    subtracted from all embeddings before they come here. Without it this is the paper's L2N.
    """

    def __init__(self) -> None:
        super().__init__()

    def scores(self, support: Tensor, one_hot: Tensor, query: Tensor) -> Tensor:
        """See `FewShotHead.scores`."""
        return super().scores(F.normalize(support, dim=2), one_hot, F.normalize(query, dim=2))
