"""SLA with self-distillation: the vote of all views is taught to a classifier that needs one pass."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sla_bench.label_augmentation import aggregate, checked_distillation, distillation_loss
from sla_bench.objectives.classifier_base import Classes
from sla_bench.objectives.sla import SLAClassifier
from sla_bench.transforms import Transform


class DistilledSLA(SLAClassifier):
    """A second head over the N classes learns from the labels and from the aggregated joint head.

    Lee, Hwang and Shin 2020, section 3; temperature and weight are those of its code.

    Args:
        num_features: D.
        classes: the classes and their criterion, which serves both heads.
        transform: the label augmentation.
        temperature: T of the distillation, above 0.
        single_weight: beta, of the second head's own loss, at least 0.

    Raises:
        UserError: temperature or weight out of range.
    """

    row = "SLA+SD"
    knows_views = False

    def __init__(
        self,
        num_features: int,
        classes: Classes,
        transform: Transform,
        temperature: float = 1.0,
        single_weight: float = 1.0,
    ) -> None:
        # Drawn first, so that this head starts like the baseline's.
        criterion = classes.criterion()
        head = criterion.head(num_features)
        super().__init__(num_features, classes, transform)
        self.temperature, self.single_weight = checked_distillation(temperature, single_weight)
        self.criterion, self.head = criterion, head

    @property
    def rows(self) -> Mapping[str, int]:
        """The second head on upright images."""
        return {self.row: 1}

    @property
    def further_rows(self) -> Mapping[str, int]:
        """The second head on views that it does not know, and the joint head, aggregated: the teacher."""
        return {f"{self.row}+TTA": self.num_views, f"{self.row} teacher": self.num_views}

    @property
    def modes(self) -> Mapping[str, str]:
        """The second head alone and averaged over the views, and its teacher."""
        return {"sd": self.row, "tta": f"{self.row}+TTA", "ag": f"{self.row} teacher"}

    def loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """mean_j CE(w(z_j), (y, j)) + T^2 KL + beta CE(u(z_0), y); no class weights on the KL."""
        joint_logits, logits = self.joint_logits(features), self.head(features[:, 0])
        loss, accuracy = self.joint_loss(joint_logits, labels)
        loss = loss + self.single_weight * self.criterion(logits, labels)
        return loss + self.distillation(joint_logits, logits), accuracy

    def distillation(self, joint_logits: Tensor, logits: Tensor) -> Tensor:
        """T^2 KL (scalar) from the aggregated scores (teacher, no gradient) to those of the second head.

        Args:
            joint_logits: (B, M, N, M), of the joint head.
            logits: (B, N), of the second head on upright images.
        """
        teacher = aggregate(self.joint_scores(joint_logits))
        return distillation_loss(self.criterion.scores(logits), teacher, self.temperature)

    def by_view(self, features: Tensor) -> dict[str, Tensor]:
        """The second head, and its joint teacher; see the base class."""
        teacher = self.joint_scores(self.joint_logits(features))
        return {self.row: self.criterion.scores(self.head(features)), f"{self.row} teacher": teacher}

    def read(self, features: Tensor) -> dict[str, Tensor]:
        """SLA+SD, SLA+SD+TTA, and the teacher; see the base class."""
        scores, teacher = self.by_view(features).values()
        return {
            self.row: scores[:, 0],
            f"{self.row}+TTA": scores.mean(1),
            f"{self.row} teacher": aggregate(teacher),
        }
