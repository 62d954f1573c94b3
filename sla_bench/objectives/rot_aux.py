"""Auxiliary self-supervision: the baseline's loss, and the view is a second task."""

from __future__ import annotations

from torch import Tensor, nn

from sla_bench.checks import positive
from sla_bench.objectives import classifier_base
from sla_bench.objectives.base import EpisodeFeatures, Head, ViewHead, view_cross_entropy, view_loss
from sla_bench.objectives.baseline import Baseline, BaselineClassifier
from sla_bench.transforms import Transform


class AuxiliaryRotation(Baseline):
    """The episode's loss on upright images; telling the view is learned beside it, without forced invariance.

    Gidaris et al. 2019, arXiv 1906.05186.

    Args:
        transform: the label augmentation.
        weight: beta, of the second task.

    Raises:
        UserError: the weight is not positive.
    """

    row = "rot-aux"
    trains_on_views = True

    def __init__(self, transform: Transform, weight: float = 1.0) -> None:
        super().__init__(transform)
        self.weight = positive("rot-aux", "weight", weight)

    def view_head(self, num_features: int) -> nn.Module:
        """A linear layer (..., D) -> (..., M)."""
        return nn.Linear(num_features, self.num_views)

    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: ViewHead | None
    ) -> tuple[Tensor, Tensor]:
        """CE(u(z_0), y) + beta mean_j CE(v(z_j), j); see the base class."""
        assert view_head is not None
        loss, accuracy = super().loss(features, head, label_smoothing, None)
        return loss + self.weight * view_loss(features, view_head), accuracy


class AuxiliaryRotationClassifier(BaselineClassifier):
    """The criterion on upright images; telling the view of all M is learned beside it.

    Args:
        num_features: D.
        classes: the classes and their criterion.
        transform: the label augmentation.
        weight: beta, of the second task.

    Raises:
        UserError: the weight is not positive.
    """

    row = "rot-aux"
    trains_on_views = True

    def __init__(
        self,
        num_features: int,
        classes: classifier_base.Classes,
        transform: Transform,
        weight: float = 1.0,
    ) -> None:
        super().__init__(num_features, classes, transform)
        self.weight = positive("rot-aux", "weight", weight)
        self.view_head = nn.Linear(num_features, self.num_views)

    def loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """CE(u(z_0), y) + beta mean_j CE(v(z_j), j), the first or another criterion."""
        loss, accuracy = super().loss(features[:, :1], labels)
        return loss + self.weight * view_cross_entropy(self.view_head(features)), accuracy

    def recognised_view(self, features: Tensor) -> Tensor:
        """The second task's scores; see the base class."""
        scores: Tensor = self.view_head(features)
        return scores
