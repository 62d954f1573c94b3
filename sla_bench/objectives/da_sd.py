"""Control: the mean of a view-invariant head is distilled. Is it the joint label?"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sla_bench.label_augmentation import checked_distillation, distillation_loss
from sla_bench.objectives import classifier_base
from sla_bench.transforms import Transform


class DistilledDataAugmentation(classifier_base.ClassifierObjective):
    """As `sla+sd`, with a teacher over the N classes that learns every view under its image's label.

    Args:
        num_features: D.
        classes: the classes and their criterion, which serves both heads.
        transform: the label augmentation.
        temperature: T of the distillation, above 0.
        single_weight: beta, of the second head's own loss, at least 0.

    Raises:
        UserError: temperature or weight out of range.
    """

    trains_on_views = True

    def __init__(
        self,
        num_features: int,
        classes: classifier_base.Classes,
        transform: Transform,
        temperature: float = 1.0,
        single_weight: float = 1.0,
    ) -> None:
        super().__init__(transform)
        self.temperature, self.single_weight = checked_distillation(temperature, single_weight)
        self.criterion = classes.criterion()
        self.head = self.criterion.head(num_features)
        self.teacher_head = self.criterion.head(num_features)

    @property
    def rows(self) -> Mapping[str, int]:
        """The second head on upright images."""
        return {"DA+SD": 1}

    @property
    def further_rows(self) -> Mapping[str, int]:
        """The second head on views that it does not know, and the teacher."""
        return {"DA+SD+TTA": self.num_views, "DA+SD teacher": self.num_views}

    @property
    def modes(self) -> Mapping[str, str]:
        """The second head alone and averaged over the views, and its teacher."""
        return {"sd": "DA+SD", "tta": "DA+SD+TTA", "ag": "DA+SD teacher"}

    def loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """mean_j CE(a(z_j), y) + beta CE(u(z_0), y) + T^2 KL(mean_j a(z_j) || u(z_0))."""
        teacher_logits, logits = self.teacher_head(features), self.head(features[:, 0])
        loss, accuracy = classifier_base.every_view(self.criterion, teacher_logits, labels)
        teacher = self.criterion.scores(teacher_logits).mean(1)
        divergence = distillation_loss(self.criterion.scores(logits), teacher, self.temperature)
        return loss + self.single_weight * self.criterion(logits, labels) + divergence, accuracy

    @property
    def invariant_heads(self) -> frozenset[str]:
        """The teacher."""
        return frozenset({"DA+SD teacher"})

    def by_view(self, features: Tensor) -> dict[str, Tensor]:
        """The second head, and its teacher; see the base class."""
        heads = {"DA+SD": self.head, "DA+SD teacher": self.teacher_head}
        return {name: self.criterion.scores(head(features)) for name, head in heads.items()}

    def read(self, features: Tensor) -> dict[str, Tensor]:
        """DA+SD, DA+SD+TTA, and the teacher; see the base class."""
        scores, teacher = self.by_view(features).values()
        return {"DA+SD": scores[:, 0], "DA+SD+TTA": scores.mean(1), "DA+SD teacher": teacher.mean(1)}
