"""What an objective for a fixed set of classes is, and the parts that several of them share.

Shapes: B images, V images of each in a batch (views or copies), M views, N classes, D features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from sla_bench.losses.base import Criterion
from sla_bench.objectives.base import accuracy
from sla_bench.transforms import Transform


@dataclass(frozen=True)
class Classes:
    """What an objective has to know about the classes.

    Args:
        counts: int64 (N,), training images of each class.
        make_criterion: builds the loss for classes of the given counts.
        joint_reduction: of a joint loss over the views of an image; "sum" is M times "mean".
    """

    counts: Tensor
    make_criterion: Callable[[Tensor], Criterion]
    joint_reduction: Literal["mean", "sum"] = "mean"

    def criterion(self) -> Criterion:
        """The loss over the N classes."""
        return self.make_criterion(self.counts)

    def joint_criterion(self, num_views: int) -> Criterion:
        """The loss over N*M joint classes, index class*M + view: each image gives one of every view."""
        return self.make_criterion(self.counts.repeat_interleave(num_views))


class ClassifierObjective(nn.Module, ABC):
    """Heads on a backbone's features, the loss of a batch, and how predictions are read off at test.

    An objective knows neither the backbone nor the data, and its loss may be any `Criterion`. Where training
    differs from the baseline's by more than heads and loss, the attributes say how.

    Args:
        transform: the label augmentation with its M views.

    Attributes:
        step_factor: the number of steps, and every schedule, is multiplied by it.
        copies: times that each image enters a batch, each with its own crop and flip; they take the place of
            views.
        members: models trained from disjoint seeds, whose scores are averaged at test.
        trains_on_views: training embeds all M views of each image, else the image as it is.
        knows_views: the head of single inference was trained on all views; of another, the views say nothing
            at test, and several passes are of crops (+crops).
    """

    step_factor: int = 1
    copies: int = 1
    members: int = 1
    trains_on_views: bool = False
    knows_views: bool = False

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    @property
    @abstractmethod
    def rows(self) -> Mapping[str, int]:
        """Read-off -> forward passes per test image, in the order of the table; the first is its own."""

    @property
    def further_rows(self) -> Mapping[str, int]:
        """The same for read-offs that are recorded and not shown."""
        return {}

    @property
    def single_row(self) -> str:
        """The read-off of single inference, one pass per member: validation reads it, whatever is first."""
        return next(row for row, passes in self.rows.items() if passes == self.members)

    @property
    def crops_row(self) -> str | None:
        """Single inference averaged over M crops and flips; None where the head knows the views instead."""
        return None if self.knows_views else f"{self.single_row}+crops"

    @property
    @abstractmethod
    def modes(self) -> Mapping[str, str]:
        """Short name of each inference -> its read-off; the first is the objective's own.

        si: single, ag: aggregated over the views, sd: the second head, tta: mean over the views.
        """

    @property
    def num_views(self) -> int:
        """M."""
        return self.transform.num_views

    @property
    def images_per_image(self) -> int:
        """V, images that pass through the backbone in training for each image of a batch."""
        return self.copies * (self.num_views if self.trains_on_views else 1)

    def reweight(self, progress: float) -> None:
        """Tell every criterion that `progress` = step / steps in [0, 1) of the training is done."""
        for module in self.modules():
            if isinstance(module, Criterion):
                module.reweight(progress)

    @abstractmethod
    def loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the training loss (scalar) and the training accuracy (scalar in 0..1).

        Args:
            features: (B, V, D).
            labels: int64 (B,).
        """

    @property
    def invariant_heads(self) -> frozenset[str]:
        """Those of `by_view` that were taught one label for all views of an image."""
        return frozenset()

    @abstractmethod
    def by_view(self, features: Tensor) -> dict[str, Tensor]:
        """Return head -> its scores of every view, from which `read` makes its predictions.

        (B, M, N) of a head over the classes, (B, M, N, M) of a joint one: [image, view, class,
        transformation].

        Args:
            features: as `read`.
        """

    def recognised_view(self, features: Tensor) -> Tensor | None:
        """Scores (B, M, M) of a head that tells the view, from (B, M, D); None where there is none."""
        del features
        return None

    @abstractmethod
    def read(self, features: Tensor) -> dict[str, Tensor]:
        """Return read-off -> scores (B, N) for each of `rows` and `further_rows`.

        Args:
            features: (B, M, D), of all views, view 0 the image as it is. From view 0 alone, (B, 1, D), the
                read-offs that cost one pass per member are the same, and the others mean nothing.
        """


class SingleClassifier(ClassifierObjective):
    """One head over the N classes, read on the image as it is; +TTA averages its scores over the views.

    A head that was not trained on the views has +TTA among the further rows.

    Subclasses set `row`, the name in the tables.

    Args:
        num_features: D.
        classes: the classes and their criterion.
        transform: the label augmentation.
    """

    row: str

    def __init__(self, num_features: int, classes: Classes, transform: Transform) -> None:
        super().__init__(transform)
        self.criterion = classes.criterion()
        self.head = self.criterion.head(num_features)

    @property
    def rows(self) -> Mapping[str, int]:
        """The head on upright images, and on all views where it knows them."""
        return {self.row: self.members, **(self._tta if self.knows_views else {})}

    @property
    def further_rows(self) -> Mapping[str, int]:
        """The head on views that it does not know."""
        return {} if self.knows_views else self._tta

    @property
    def _tta(self) -> Mapping[str, int]:
        return {f"{self.row}+TTA": self.members * self.num_views}

    @property
    def modes(self) -> Mapping[str, str]:
        """Single, and averaged over the views."""
        return {"si": self.row, "tta": f"{self.row}+TTA"}

    def by_view(self, features: Tensor) -> dict[str, Tensor]:
        """The one head; see the base class."""
        return {self.row: self.criterion.scores(self.head(features))}

    def read(self, features: Tensor) -> dict[str, Tensor]:
        """Scores of the upright view, and their mean over the views."""
        scores = self.by_view(features)[self.row]
        return {self.row: scores[:, 0], f"{self.row}+TTA": scores.mean(1)}


def every_view(criterion: Criterion, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and accuracy when all V images of an image carry its label.

    Args:
        criterion: over N classes.
        logits: (B, V, N).
        labels: int64 (B,).
    """
    flat, repeated = logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1])
    return criterion(flat, repeated), accuracy(flat, repeated)
