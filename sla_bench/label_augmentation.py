"""Self-supervised label augmentation: joint labels of class and transformation, and what is read off them.

Lee, Hwang and Shin, "Self-supervised Label Augmentation via Input Transformations", ICML 2020,
arXiv 1910.05872. Shapes: B images, M views (transformations), N classes, D features. Joint logits are
(B, M, N, M): [image, view, class, transformation]; flattened, class i under transformation j is i*M + j.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sla_bench.checks import not_negative, positive
from sla_bench.errors import UserError, unknown
from sla_bench.registry import TRANSFORMS
from sla_bench.transforms import Transform

REDUCTIONS = ("mean", "sum")
MODES = ("ag", "si", "sd")


def joint_labels(labels: Tensor, num_views: int) -> Tensor:
    """Labels of all views: int64 (B,) -> (B, M), value label*M + j for view j."""
    return labels[:, None] * num_views + torch.arange(num_views, device=labels.device)


def split_joint(logits: Tensor, num_views: int) -> Tensor:
    """Joint logits (..., N*M) as (..., N, M): [class, transformation].

    Raises:
        UserError: the number of columns is not a multiple of M.
    """
    if logits.shape[-1] % num_views:
        raise UserError(f"{logits.shape[-1]} joint logits do not divide into {num_views} transformations")
    split: Tensor = logits.unflatten(-1, (-1, num_views))
    return split


def aggregate(joint_logits: Tensor) -> Tensor:
    """SLA+AG: the logit of (class, j) on view j, mean over j; (B, M, N, M) -> (B, N), before any softmax."""
    return joint_logits.diagonal(dim1=1, dim2=3).mean(-1)


def single(joint_logits: Tensor) -> Tensor:
    """SLA+SI: the untransformed view and its columns; (B, M, N, M) -> (B, N)."""
    return joint_logits[:, 0, :, 0]


def sla_loss(joint_logits: Tensor, labels: Tensor, reduction: Literal["mean", "sum"] = "mean") -> Tensor:
    """Cross entropy of the joint labels over all views of all images.

    Args:
        joint_logits: (B, M, N, M).
        labels: int64 (B,), classes 0..N-1.
        reduction: over the views of an image; "sum" is M times "mean" (the official option for ImageNet).

    Returns:
        Scalar, mean over images.

    Raises:
        UserError: unknown reduction.
    """  # noqa: DOC501
    if reduction not in REDUCTIONS:
        raise unknown("reduction", reduction, REDUCTIONS)
    num_views = joint_logits.shape[1]
    loss = F.cross_entropy(joint_logits.flatten(0, 1).flatten(1), joint_labels(labels, num_views).flatten())
    return loss * num_views if reduction == "sum" else loss


def distillation_loss(single_logits: Tensor, aggregated: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(softmax(aggregated / T) || softmax(single / T)), mean over images; the teacher gets no gradient.

    Args:
        single_logits: (B, N), the student.
        aggregated: (B, N), the teacher, as from `aggregate`.
        temperature: T, above 0.
    """
    teacher = F.log_softmax(aggregated.detach() / temperature, dim=1)
    student = F.log_softmax(single_logits / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def checked_distillation(temperature: float, single_weight: float) -> tuple[float, float]:
    """Return T and beta of a distillation.

    Raises:
        UserError: T is not above 0, or beta is negative.
    """
    owner = "distillation"
    return positive(owner, "temperature", temperature), not_negative(owner, "single_weight", single_weight)


class SLA(nn.Module):
    """Heads, loss and predictions of SLA, to be put on any backbone in any training loop.

    In training: `loss(backbone(sla.views(images)), labels)`. At test: `predict(...)` in one of three modes.

    Args:
        num_features: D.
        num_classes: N.
        transform: name of a label augmentation, or the augmentation itself.
        distill: train a second head on upright images towards the aggregated prediction (SLA+SD).
        temperature: T of the distillation.
        single_weight: beta, weight of the second head's cross entropy.
        reduction: of the joint loss over the views, see `sla_loss`.

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
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        if num_features < 1 or num_classes < 1:
            raise UserError(f"SLA needs features and classes, got {num_features} and {num_classes}")
        self.temperature, self.single_weight = checked_distillation(temperature, single_weight)
        if not distill and (temperature, single_weight) != (1.0, 1.0):
            raise UserError("temperature and single_weight belong to the distillation; add distill=True")
        if reduction not in REDUCTIONS:
            raise unknown("reduction", reduction, REDUCTIONS)
        self.transform: Transform = TRANSFORMS.load(transform) if isinstance(transform, str) else transform
        self.reduction: Literal["mean", "sum"] = reduction
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
        joint_logits = self.joint_logits(features)
        loss = sla_loss(joint_logits, labels, self.reduction)
        if self.single is None:
            return loss
        single_logits = self.single(features[:: self.num_views])
        distillation = distillation_loss(single_logits, aggregate(joint_logits), self.temperature)
        return loss + distillation + self.single_weight * F.cross_entropy(single_logits, labels)

    def joint_logits(self, features: Tensor) -> Tensor:
        """(B*M, D) -> (B, M, N, M)."""
        joint: Tensor = split_joint(self.joint(features), self.num_views).unflatten(0, (-1, self.num_views))
        return joint

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
            single: Tensor = self.single(features)
            return single
        if mode == "si":
            return split_joint(self.joint(features), self.num_views)[..., 0]
        if len(features) % self.num_views:
            raise UserError(
                f'mode "ag" needs the features of all {self.num_views} views of each image, '
                f"got {len(features)} rows"
            )
        return aggregate(self.joint_logits(features))
