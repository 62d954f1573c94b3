"""SLA as a module, for any backbone and any training loop."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sla_bench.errors import UserError, unknown
from sla_bench.models.losses.criteria import CrossEntropy
from sla_bench.objectives.classes import Classes, ClassScores, Reduction
from sla_bench.objectives.objective import Distilled, LabelAugmentation, Layer
from sla_bench.registry import TRANSFORMS
from sla_bench.views.transforms import Transform

REDUCTIONS = ("mean", "sum")
MODES = ("ag", "si", "sd")


class SLA(nn.Module):
    """Heads, loss and predictions of SLA, to be put on any backbone in any training loop.

    In training: `loss(backbone(sla.views(images)), labels)`. At test: `predict(...)` in one of three modes.

    Args:
        num_features: D.
        num_classes: N.
        transform: name of a transform, or the transform itself.
        distill: train a second head on upright images towards the aggregated prediction (SLA+SD).
        temperature: T of the distillation.
        single_weight: beta, weight of the second head's cross entropy.
        reduction: of the joint loss over the views of an image; "sum" is M times "mean" (the official option
            for ImageNet).

    Raises:
        UserError: an unknown name, sizes below 1, a temperature not above 0, a negative weight, or options of
            the distillation without it.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        transform: str | Transform = "rotation",
        distill: bool = False,
        temperature: float = 1.0,
        single_weight: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        if num_features < 1 or num_classes < 1:
            raise UserError(f"SLA needs features and classes, got {num_features} and {num_classes}")
        distilled = Distilled(temperature=temperature, single_weight=single_weight)
        if not distill and (temperature, single_weight) != (1.0, 1.0):
            raise UserError("temperature and single_weight belong to the distillation; add distill=True")
        if reduction not in REDUCTIONS:
            raise unknown("reduction", reduction, REDUCTIONS)
        self.transform: Transform = TRANSFORMS.load(transform) if isinstance(transform, str) else transform
        self._method = distilled if distill else LabelAugmentation()
        self.reduction: Reduction = reduction
        # Cross entropy takes the number of classes from the counts, and nothing else.
        counts = torch.ones(num_classes, dtype=torch.int64)
        self._criteria = Classes(counts, CrossEntropy).criteria(self.num_views)
        self.joint = nn.Linear(num_features, num_classes * self.transform.num_views)
        self.single = nn.Linear(num_features, num_classes) if distill else None

    @property
    def num_views(self) -> int:
        """M."""
        return self.transform.num_views

    def views(self, images: Tensor) -> Tensor:
        """All views as one batch: (B, C, H, W) -> (B*M, C, H, W), the views of an image together."""
        return self.transform.views(images).flatten(0, 1)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """The training loss.

        Args:
            features: (B*M, D), of the batch from `views`.
            labels: int64 (B,).

        Returns:
            Scalar: the joint loss; with distillation also T^2 KL + beta * cross entropy of the second head.

        Raises:
            UserError: the number of rows is not B*M.
        """
        if len(features) != len(labels) * self.num_views:
            raise UserError(
                f"{len(labels)} images in {self.num_views} views give {len(labels) * self.num_views} rows of "
                f"features, got {len(features)}"
            )
        return self._method.loss(self._scores(features.unflatten(0, (-1, self.num_views)), labels))

    def predict(self, features: Tensor, mode: Literal["ag", "si", "sd"] = "ag") -> Tensor:
        """Class logits at test.

        Args:
            features: "ag": (B*M, D), of all views as from `views`; "si", "sd": (B, D), of upright images.
            mode: "ag" aggregates all views; "si" is the joint head on the image as it is; "sd" is the
                distilled head on the image as it is.

        Returns:
            (B, N) logits.

        Raises:
            UserError: unknown mode, "sd" without distillation, or rows that are not B*M.
        """  # noqa: DOC501
        if mode not in MODES:
            raise unknown("mode", mode, MODES)
        if mode == "sd":
            if self.single is None:
                raise UserError('mode "sd" reads the distilled head; build SLA with distill=True')
            return self._scores(features[:, None]).read("class")
        if mode == "si":
            return self._scores(features[:, None]).read("own")
        if len(features) % self.num_views:
            raise UserError(
                f'mode "ag" needs the features of all {self.num_views} views of each image, '
                f"got {len(features)} rows"
            )
        return self._scores(features.unflatten(0, (-1, self.num_views))).read("own", mean=True)

    def _scores(self, features: Tensor, labels: Tensor | None = None) -> ClassScores:
        """Scores from features (B, V, D) and labels (B,)."""
        layers: dict[Layer, nn.Module] = {"joint": self.joint}
        if self.single is not None:
            layers["class"] = self.single
        return ClassScores(layers, self._criteria, features, labels, self.num_views, self.reduction)
