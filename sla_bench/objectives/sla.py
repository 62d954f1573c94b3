"""Self-supervised label augmentation: one task over the joint labels (class, view)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sla_bench.errors import unknown
from sla_bench.label_augmentation import aggregate, joint_labels, single, split_joint
from sla_bench.losses.smoothing import smoothed_cross_entropy
from sla_bench.objectives import classifier_base
from sla_bench.objectives.base import (
    EpisodeFeatures,
    EpisodeObjective,
    Head,
    Passes,
    ViewHead,
    accuracy,
    joint_logits,
    per_view_logits,
)
from sla_bench.transforms import Transform

JOINT_SCOPES = ("all", "view")


class SLA(EpisodeObjective):
    """An N-way K-shot episode becomes N*M-way K-shot; every view of every query is a training example.

    Lee, Hwang and Shin, ICML 2020, arXiv 1910.05872. Its few-shot code was never published; this follows its
    classification code. `SLA+plain` reads the trained backbone with an ordinary N-way head on upright images.

    Args:
        transform: the label augmentation.
        joint_scope: "all": softmax over all N*M columns; "view": over the N columns of the query's own view.

    Raises:
        UserError: unknown scope.
    """

    trains_on_views = True

    def __init__(self, transform: Transform, joint_scope: str = "all") -> None:
        super().__init__(transform)
        self.joint_scope = _checked_scope(joint_scope)
        views = self.num_views
        self.rows = {
            "SLA+AG": Passes(views, views),
            "SLA+SI": Passes(views, 1),
            "SLA+plain": Passes(1, 1),
            "SLA+plain+TTA": Passes(views, views),
        }

    def loss(
        self, features: EpisodeFeatures, head: Head, label_smoothing: float, view_head: ViewHead | None
    ) -> tuple[Tensor, Tensor]:
        """mean_j CE(w(z_j), (y, j)); see the base class."""
        del view_head
        logits = joint_logits(features, head)
        episodes, queries, views, ways, _ = logits.shape
        if self.joint_scope == "view":
            own = logits.diagonal(dim1=2, dim2=4).transpose(2, 3)
            labels = features.query_labels[..., None].expand(own.shape[:-1])
            return smoothed_cross_entropy(own, labels, label_smoothing), accuracy(own, labels)
        joint = joint_labels(features.query_labels.flatten(), views).view(episodes, queries, views)
        flat = logits.reshape(episodes, queries, views, ways * views)
        return smoothed_cross_entropy(flat, joint, label_smoothing), accuracy(flat, joint)

    def read(self, features: EpisodeFeatures, head: Head) -> dict[str, Tensor]:
        """SLA+AG, SLA+SI of one joint head; plain and plain+TTA of ordinary heads; see the base class."""
        joint = joint_logits(features, head)
        plain = per_view_logits(features, head)
        shape = (*joint.shape[:2], features.ways)
        return {
            "SLA+AG": aggregate(joint.flatten(0, 1)).view(shape),
            "SLA+SI": single(joint.flatten(0, 1)).view(shape),
            "SLA+plain": plain[:, :, 0],
            "SLA+plain+TTA": plain.mean(2),
        }


class SLAClassifier(classifier_base.ClassifierObjective):
    """A classifier over the N*M joint labels, trained on all views.

    Args:
        num_features: D.
        classes: the classes and their criterion; a class's count is that of each of its joint labels.
        transform: the label augmentation.
        joint_scope: "all": softmax over all N*M columns; "view": over the N columns of the view itself.

    Raises:
        UserError: unknown scope.
    """

    trains_on_views = True
    knows_views = True

    def __init__(
        self,
        num_features: int,
        classes: classifier_base.Classes,
        transform: Transform,
        joint_scope: str = "all",
    ) -> None:
        super().__init__(transform)
        self.joint_scope = _checked_scope(joint_scope)
        self.joint_criterion = classes.joint_criterion(self.num_views)
        self.view_criterion = classes.criterion()
        self.joint_head = self.joint_criterion.head(num_features)
        self.joint_weight = self.num_views if classes.joint_reduction == "sum" else 1

    @property
    def rows(self) -> Mapping[str, int]:
        """Aggregated over the views, and single."""
        return {"SLA+AG": self.num_views, "SLA+SI": 1}

    @property
    def modes(self) -> Mapping[str, str]:
        """Aggregated over the views, and single."""
        return {"ag": "SLA+AG", "si": "SLA+SI"}

    def loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """mean_j CE(w(z_j), (y, j)), or another criterion."""
        return self.joint_loss(self.joint_logits(features), labels)

    def joint_logits(self, features: Tensor) -> Tensor:
        """(B, M, D) -> (B, M, N, M)."""
        return split_joint(self.joint_head(features), self.num_views)

    def joint_loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of joint logits (B, M, N, M) for the classes (B,)."""
        if self.joint_scope == "view":
            own = logits.diagonal(dim1=1, dim2=3).transpose(1, 2)
            loss, right = classifier_base.every_view(self.view_criterion, own, labels)
        else:
            flat, joint = logits.flatten(0, 1).flatten(1), joint_labels(labels, self.num_views).flatten()
            loss, right = self.joint_criterion(flat, joint), accuracy(flat, joint)
        return self.joint_weight * loss, right

    def joint_scores(self, logits: Tensor) -> Tensor:
        """The criterion's scores of joint logits (B, M, N, M)."""
        return split_joint(self.joint_criterion.scores(logits.flatten(2)), self.num_views)

    def by_view(self, features: Tensor) -> dict[str, Tensor]:
        """The joint head; see the base class."""
        return {"SLA": self.joint_scores(self.joint_logits(features))}

    def read(self, features: Tensor) -> dict[str, Tensor]:
        """SLA+AG and SLA+SI; see the base class."""
        scores = self.by_view(features)["SLA"]
        return {"SLA+AG": aggregate(scores), "SLA+SI": single(scores)}


def _checked_scope(scope: str) -> str:
    if scope not in JOINT_SCOPES:
        raise unknown("joint_scope", str(scope), JOINT_SCOPES)
    return scope
