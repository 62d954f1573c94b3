"""SimpleShot."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from sla_bench.errors import UserError
from sla_bench.models.heads.protonet import ProtoNet


class SimpleShot(ProtoNet):
    """Nearest class mean of embeddings of length 1 (Wang et al. 2019, arXiv 1911.04623, CL2N).

    The mean of a class is taken after its embeddings are normalised, and not normalised again. The first of
    the paper's two steps, centring, is the caller's: the mean embedding of images of the base classes is
    subtracted from all embeddings before they come here.

    Args:
        centred: the caller centres the embeddings; false is the paper's L2N.

    Raises:
        UserError: it is not true or false.
    """

    def __init__(self, *, centred: bool = True) -> None:
        super().__init__()
        if not isinstance(centred, bool):
            raise UserError(f"SimpleShot: centred must be true or false, got {centred!r}")
        self.centred = centred

    def scores(self, support: Tensor, one_hot: Tensor, query: Tensor) -> Tensor:
        """Logits of the nearest class mean, before the scale, (E, Q, ways)."""
        return super().scores(F.normalize(support, dim=2), one_hot, F.normalize(query, dim=2))
